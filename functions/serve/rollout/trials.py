"""What a change of a server that is live means: nothing new, another revision at once, or one that has to prove itself.

Called by the desk, inside its transaction, with the server's record locked.
"""

from datetime import UTC, datetime

import msgspec

from functions.kit.bus import Unit
from functions.kit.events import ServerRequested
from functions.serve import records
from functions.serve.problems import ClusterLimit, RolloutUnderWay
from functions.serve.records import Draft, Record
from functions.serve.requests import RolloutOptions, Scale, ServeOptions
from functions.serve.rollout import rows as rollouts
from functions.serve.rollout.rows import Move, Rollout
from functions.serve.rollout.states import RolloutCause, RolloutState
from functions.serve.settings import Settings
from functions.serve.states import State


async def change(unit: Unit, record: Record, draft: Draft, asked: RolloutOptions | None, settings: Settings) -> Record:
    """Make the server become what the draft says; asked for again, nothing is done twice.

    Raises RolloutUnderWay for a change of scale alone while something is on trial, and ClusterLimit.
    """
    options = asked or RolloutOptions()
    trial = await rollouts.under_way(unit.connection, record.uuid)
    if trial is not None:
        if _means(trial.model_uuid, trial.request, draft):
            return record
        if _is_scale_alone(record, draft) and not _means(record.model_uuid, record.options, draft):
            raise RolloutUnderWay(_under_way(record, trial))
        await supersede(unit, trial, "something newer is asked for")
    if _means(record.model_uuid, record.options, draft) and record.state is not State.FAILED:
        return record
    stable = serving(record)
    if stable and trial is not None:
        # By now the latest revision that became ready may be the one that was on trial.
        stable = trial.stable_revision
    elif stable:
        stable = await _promoted(unit, record) or stable
    if not stable or _is_scale_alone(record, draft) or options.strategy == "direct":
        return await _at_once(unit, record, draft)
    if options.strategy == "replace" and not settings.zero_initial_scale:
        raise ClusterLimit(
            'the strategy replace makes a revision without a replica: set allow-zero-initial-scale: "true" in the '
            "ConfigMap config-autoscaler of knative-serving, and TORPOR_ZERO_INITIAL_SCALE=true for serve"
        )
    await rollouts.start(unit, record, draft, options, stable)
    return record


async def supersede(unit: Unit, trial: Rollout, why: str) -> None:
    """End what is on trial because something else is wanted."""
    await rollouts.move(unit, trial, Move(RolloutCause.REPLACED, why), datetime.now(UTC))


def serving(record: Record) -> str:
    """The revision that serves; empty when none ever did, or what there is does not work, so that nothing can get worse."""
    seen = record.observed.service
    if record.row["started_at"] is None and record.state is not State.ASLEEP:
        return ""
    if record.state is State.FAILED or seen is None:
        return ""
    return record.pinned or seen.pinned or seen.latest_ready or seen.latest


async def _promoted(unit: Unit, record: Record) -> str:
    """The revision that was promoted while the cluster still says what served before; empty once it was told."""
    last, seen = await rollouts.last(unit.connection, record.uuid), record.observed.service
    if last is None or last.state is not RolloutState.PROMOTED or seen is None:
        return ""
    return str(last.row["candidate_revision"] or "") if seen.pinned == last.stable_revision else ""


async def _at_once(unit: Unit, record: Record, draft: Draft) -> Record:
    changed = await records.change(unit.connection, record, draft)
    unit.emit(ServerRequested(record.uuid))
    return changed


def _means(model_uuid: str, options: ServeOptions, draft: Draft) -> bool:
    return model_uuid == draft.model.uuid and _unnamed(options) == _unnamed(draft.options)


def _is_scale_alone(record: Record, draft: Draft) -> bool:
    same = record.model_uuid == draft.model.uuid
    return same and _unscaled(record.options) == _unscaled(draft.options)


def _unnamed(options: ServeOptions) -> ServeOptions:
    return msgspec.structs.replace(options, name=None, rollout=None)


def _unscaled(options: ServeOptions) -> ServeOptions:
    return msgspec.structs.replace(_unnamed(options), scale=Scale())


def _under_way(record: Record, trial: Rollout) -> str:
    return (
        f"{record.name} is going over to {trial.model_name} ({trial.state}, {trial.percent} %): "
        f"POST /serve/{record.name}/promote or /rollback first, then change its scale"
    )
