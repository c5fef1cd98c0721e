"""Broker keys of TLS, SASL and delegation tokens.

The notation is that of `notation.py`.
"""

TABLE = """
connections.max.reauth.ms | long | 0 | - | read-only
    A connection must authenticate again within this time; 0: never.
security.providers | string | - | - | read-only
    Java classes that add security algorithms.
ssl.client.auth | string | none | one(required,requested,none) | per-broker
    Whether clients must, may or need not show a certificate.
ssl.principal.mapping.rules | string | DEFAULT | - | read-only
    How the name in a certificate becomes a user name.
ssl.allow.dn.changes | boolean | false | - | read-only
    Whether a reloaded certificate may carry another name.
ssl.allow.san.changes | boolean | false | - | read-only
    Whether a reloaded certificate may carry other host names.
ssl.protocol | string | TLSv1.3 | - | per-broker
    TLS version that the server's context is made for.
ssl.provider | string | - | - | per-broker
    Java security provider for TLS.
ssl.enabled.protocols | list | TLSv1.2,TLSv1.3 | - | per-broker
    TLS versions that are accepted.
ssl.keystore.type | string | JKS | - | per-broker
    Format of the key store: JKS, PKCS12 or PEM.
ssl.keystore.location | string | - | - | per-broker
    File with the server's key and certificate.
ssl.keystore.password | password | - | - | per-broker
    Password of that file.
ssl.key.password | password | - | - | per-broker
    Password of the key in that file.
ssl.keystore.key | password | - | - | per-broker
    The server's private key itself, in PEM.
ssl.keystore.certificate.chain | password | - | - | per-broker
    The server's certificates themselves, in PEM.
ssl.truststore.type | string | JKS | - | per-broker
    Format of the trust store: JKS, PKCS12 or PEM.
ssl.truststore.location | string | - | - | per-broker
    File with the certificates to trust.
ssl.truststore.password | password | - | - | per-broker
    Password of that file.
ssl.truststore.certificates | password | - | - | per-broker
    The certificates to trust themselves, in PEM.
ssl.keymanager.algorithm | string | SunX509 | - | per-broker
    Java algorithm that picks the key.
ssl.trustmanager.algorithm | string | PKIX | - | per-broker
    Java algorithm that checks certificates.
ssl.endpoint.identification.algorithm | string | https | - | per-broker
    How the host name in a server's certificate is checked; empty: not at all.
ssl.secure.random.implementation | string | - | - | per-broker
    Java source of random numbers for TLS.
ssl.cipher.suites | list | '' | - | per-broker
    Cipher suites that are accepted; empty: the library's own list.
ssl.engine.factory.class | class | - | - | per-broker
    Java class that makes TLS engines.
sasl.server.max.receive.size | int | 524288 | - | read-only
    The largest message during SASL authentication.
sasl.mechanism.inter.broker.protocol | string | GSSAPI | - | per-broker
    SASL mechanism that brokers use among themselves.
sasl.enabled.mechanisms | list | GSSAPI | - | per-broker
    SASL mechanisms that clients may use.
sasl.server.callback.handler.class | class | - | - | read-only
    Java class that checks credentials.
sasl.kerberos.principal.to.local.rules | list | DEFAULT | - | per-broker
    How a Kerberos principal becomes a user name.
sasl.jaas.config | password | - | - | per-broker
    Login settings of SASL in JAAS notation.
sasl.client.callback.handler.class | class | - | - | read-only
    Java class that supplies credentials.
sasl.login.class | class | - | - | read-only
    Java class that logs in.
sasl.login.callback.handler.class | class | - | - | read-only
    Java class that supplies credentials at login.
sasl.kerberos.service.name | string | - | - | per-broker
    Kerberos service name of the brokers.
sasl.kerberos.kinit.cmd | string | /usr/bin/kinit | - | per-broker
    Path of Kerberos' kinit.
sasl.kerberos.ticket.renew.window.factor | double | 0.8 | - | per-broker
    Share of a ticket's life after which it is renewed.
sasl.kerberos.ticket.renew.jitter | double | 0.05 | - | per-broker
    Random share added to that time.
sasl.kerberos.min.time.before.relogin | long | 60000 | - | per-broker
    Shortest time between two Kerberos logins.
sasl.login.refresh.window.factor | double | 0.8 | - | per-broker
    Share of a credential's life after which it is renewed.
sasl.login.refresh.window.jitter | double | 0.05 | - | per-broker
    Random share added to that time.
sasl.login.refresh.min.period.seconds | short | 60 | - | per-broker
    Shortest time between two renewals.
sasl.login.refresh.buffer.seconds | short | 300 | - | per-broker
    Time before its end at which a credential is renewed at the latest.
sasl.login.connect.timeout.ms | int | - | - | read-only
    How long connecting to the OAuth provider may take.
sasl.login.read.timeout.ms | int | - | - | read-only
    How long an answer of the OAuth provider may take.
sasl.login.retry.backoff.max.ms | long | 10000 | - | read-only
    Longest wait between two tries to log in.
sasl.login.retry.backoff.ms | long | 100 | - | read-only
    First wait between two tries to log in.
sasl.oauthbearer.jwt.retriever.class | class \
| org.apache.kafka.common.security.oauthbearer.DefaultJwtRetriever | - | read-only
    Java class that fetches tokens.
sasl.oauthbearer.jwt.validator.class | class \
| org.apache.kafka.common.security.oauthbearer.DefaultJwtValidator | - | read-only
    Java class that checks tokens.
sasl.oauthbearer.scope | string | - | - | read-only
    Scope asked for at the token endpoint.
sasl.oauthbearer.client.credentials.client.id | string | - | - | read-only
    Client id for the token endpoint.
sasl.oauthbearer.client.credentials.client.secret | password | - | - | read-only
    Client secret for the token endpoint.
sasl.oauthbearer.assertion.algorithm | string | RS256 | one-ci(ES256,RS256) | read-only
    How an assertion for the token endpoint is signed.
sasl.oauthbearer.assertion.claim.aud | string | - | - | read-only
    Audience written into an assertion.
sasl.oauthbearer.assertion.claim.exp.seconds | int | 300 | 0..86400 | read-only
    How long an assertion is valid.
sasl.oauthbearer.assertion.claim.iss | string | - | - | read-only
    Issuer written into an assertion.
sasl.oauthbearer.assertion.claim.jti.include | boolean | false | - | read-only
    Whether an assertion gets an id.
sasl.oauthbearer.assertion.claim.nbf.seconds | int | 60 | 0..3600 | read-only
    How far back the validity of an assertion begins.
sasl.oauthbearer.assertion.claim.sub | string | - | - | read-only
    Subject written into an assertion.
sasl.oauthbearer.assertion.file | string | - | - | read-only
    File with a ready-made assertion.
sasl.oauthbearer.assertion.private.key.file | string | - | - | read-only
    File with the key that signs assertions.
sasl.oauthbearer.assertion.private.key.passphrase | password | - | - | read-only
    Password of that key.
sasl.oauthbearer.assertion.template.file | string | - | - | read-only
    File with the fixed part of assertions.
sasl.oauthbearer.scope.claim.name | string | scope | - | read-only
    Claim of a token that holds its scope.
sasl.oauthbearer.sub.claim.name | string | sub | - | read-only
    Claim of a token that holds the user's name.
sasl.oauthbearer.token.endpoint.url | string | - | - | read-only
    Where tokens are fetched.
sasl.oauthbearer.jwks.endpoint.url | string | - | - | read-only
    Where the provider's public keys are fetched.
sasl.oauthbearer.jwks.endpoint.refresh.ms | long | 3600000 | - | read-only
    How often those keys are fetched again.
sasl.oauthbearer.jwks.endpoint.retry.backoff.ms | long | 100 | - | read-only
    First wait when that failed.
sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms | long | 10000 | - | read-only
    Longest wait when that failed.
sasl.oauthbearer.clock.skew.seconds | int | 30 | - | read-only
    How far the provider's clock may differ from ours.
sasl.oauthbearer.expected.audience | list | '' | - | read-only
    Audiences that a token may be meant for.
sasl.oauthbearer.expected.issuer | string | - | - | read-only
    Issuer that a token must come from.
delegation.token.secret.key | password | - | - | read-only
    Key that signs delegation tokens; unset: there are none.
delegation.token.max.lifetime.ms | long | 604800000 | 1.. | read-only
    How long a delegation token can be renewed.
delegation.token.expiry.time.ms | long | 86400000 | 1.. | read-only
    How long a delegation token is valid without being renewed.
delegation.token.expiry.check.interval.ms | long | 3600000 | 1.. | read-only
    How often expired delegation tokens are removed.
super.users | string | - | - | read-only | internal
    Users who may do everything, as `User:name` separated by semicolons.
allow.everyone.if.no.acl.found | boolean | false | - | read-only | internal
    Whether a resource without any rule is open to all.
"""
