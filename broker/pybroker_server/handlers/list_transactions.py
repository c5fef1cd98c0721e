"""ListTransactions: the transactional ids that this broker coordinates (KIP-664).

Versions 0-2; v1 by how long they have been open (KIP-994), v2 by a pattern for the whole id (KIP-1152).
"""

from __future__ import annotations

from collections.abc import Sequence

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_protocol.messages import ListTransactionsRequest, ListTransactionsResponse
from pybroker_server.coordinator.patterns import compiled_pattern
from pybroker_server.coordinator.transaction.listing import Listed, TransactionFilter
from pybroker_server.handlers.coordination import Gather
from pybroker_server.handlers.registry import handles
from pybroker_server.handlers.request import Reply, RequestContext
from pybroker_server.handlers.services import Services

_Answer = Sequence[Listed] | ErrorCode


@handles(ApiKey.LIST_TRANSACTIONS, 0, 2)
def handle_list_transactions(services: Services, context: RequestContext, request: ListTransactionsRequest) -> Reply:
    """A partition that is still being loaded makes the whole answer COORDINATOR_LOAD_IN_PROGRESS."""
    pattern = None
    if request.transactional_id_pattern:
        try:
            pattern = compiled_pattern(request.transactional_id_pattern)
        except KafkaError as error:
            return ListTransactionsResponse(error_code=error.code)
    wanted = TransactionFilter(request.state_filters, request.producer_id_filters, request.duration_filter, pattern)

    def finish(answers: Sequence[_Answer]) -> ListTransactionsResponse:
        found: list[Listed] = []
        for answer in answers:
            if isinstance(answer, ErrorCode):
                return ListTransactionsResponse(error_code=answer)
            found += answer
        return _response(wanted, found)

    gather: Gather[_Answer, ListTransactionsResponse] = Gather(finish)
    coordinator = services.transactions.coordinator
    for index in coordinator.partitions:
        coordinator.run_at(
            index, lambda shard, effects, reply: shard.listed(effects, reply, wanted), gather.reply(_refusal)
        )
    return gather.seal()


def _refusal(code: ErrorCode) -> _Answer:
    """A partition that went to another broker in this moment has nothing to list."""
    return [] if code is ErrorCode.NOT_COORDINATOR else code


def _response(wanted: TransactionFilter, found: Sequence[Listed]) -> ListTransactionsResponse:
    return ListTransactionsResponse(
        unknown_state_filters=wanted.unknown_states,
        transaction_states=[
            ListTransactionsResponse.TransactionState(
                transactional_id=listed.transactional_id,
                producer_id=listed.producer_id,
                transaction_state=listed.state.label,
            )
            for listed in found
        ],
    )
