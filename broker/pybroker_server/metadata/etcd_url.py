"""What an `etcd://` URL says: where the members are, whose keys these are, and how to prove who we are.

    etcd://[user@]host[:port],host[:port],...[/prefix][?option=value&...]

    password-file   file with the password of `user`; its last line end is left off
    tls             true: TLS with the system's certificate authorities; the next three imply it
    ca              PEM file of the authorities that sign etcd's certificates
    cert, key       PEM files of this client's certificate and private key

Rules of this file: pure, and all of it: files are named here and read elsewhere. A password never stands in the URL,
which is printed at the start and told to whoever describes the configuration.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qs, unquote

DEFAULT_PORT = 2379
DEFAULT_PREFIX = "/pybroker"
_FILES = {"password-file": "password_file", "ca": "ca_file", "cert": "cert_file", "key": "key_file"}


@dataclass(frozen=True, slots=True)
class EtcdOptions:
    """File names are empty when there is none."""

    endpoints: tuple[str, ...]
    """Base URLs of the members, `http://host:port`, in the order of the URL."""
    prefix: str = DEFAULT_PREFIX
    """Begins with `/` and does not end with it. Clusters that share an etcd have prefixes of their own."""
    user: str = ""
    password_file: str = ""
    tls: bool = False
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""


def parse_etcd_url(parts: SplitResult) -> EtcdOptions:
    """Raises ValueError with words for the user."""
    user, has_user, hosts = parts.netloc.rpartition("@")
    if ":" in user:
        raise ValueError("a password may not stand in the URL: write user@host and ?password-file=/path of a file")
    files, tls = _read_options(parts.query)
    if bool(has_user) != bool(files["password_file"]):
        raise ValueError("a user and ?password-file=/path go together")
    if not user and has_user:
        raise ValueError("no user stands before the @")
    if bool(files["cert_file"]) != bool(files["key_file"]):
        raise ValueError("cert and key go together")
    scheme = "https" if tls else "http"
    return EtcdOptions(
        endpoints=tuple(f"{scheme}://{_address(host)}" for host in hosts.split(",")),
        prefix=_prefix(unquote(parts.path)),
        user=unquote(user),
        tls=tls,
        **files,
    )


def _read_options(query: str) -> tuple[dict[str, str], bool]:
    options = {name: values[-1] for name, values in parse_qs(query, keep_blank_values=True).items()}
    tls = options.pop("tls", None)
    if tls not in (None, "true", "false"):
        raise ValueError("tls is true or false")
    files = {field: options.pop(name, "") for name, field in _FILES.items()}
    if options:
        raise ValueError(f"unknown option {min(options)!r}; known are tls, {', '.join(_FILES)}")
    secured = any(files[field] for field in ("ca_file", "cert_file", "key_file"))
    if secured and tls == "false":
        raise ValueError("tls=false contradicts ca, cert and key")
    return files, secured or tls == "true"


def _address(host: str) -> str:
    name, _, port = (host, "", "") if host.endswith("]") else host.rpartition(":") if ":" in host else (host, "", "")
    if not name or "/" in name or (":" in name and not name.startswith("[")):
        raise ValueError(f"{host!r} is no address: write host or host:port, several with commas between")
    if port and not (port.isascii() and port.isdecimal() and 0 < int(port) < 65_536):
        raise ValueError(f"{host!r} has no port between 1 and 65535")
    return f"{name}:{port or DEFAULT_PORT}"


def _prefix(path: str) -> str:
    trimmed = path.rstrip("/")
    if "//" in trimmed:
        raise ValueError(f"the prefix {path!r} has an empty part")
    return trimmed or DEFAULT_PREFIX
