"""The contract with the host: what the model says of itself, and batches of rows through `detector`.

The host keeps the state of every series as bytes (`STATE`) and passes it in and out: nothing that a row taught may stay
in this module. A model gets no clock, no random numbers, no file and no network.
"""

import functools
import struct
import sys
import traceback

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.model import (
    Batch,
    Descriptor,
    Fault_BadConfig,
    Fault_BadInput,
    Fault_BadState,
    Fault_Internal,
    Feature,
    MissingRule,
    Output,
    Role,
    Scored,
    StateId,
    Traits,
)
from wit_world.imports import host_log

import detector

VERSION = "0.1.0"
# Rows seen, refractory rows left, mean, variance; little-endian. All zeros: a series that was never seen.
STATE = struct.Struct("<IIdd")
WARM_UP = 1

settings: detector.Settings


class Log:
    """What is printed becomes lines of the host's log."""

    def write(self, text: str) -> int:
        if text.strip():
            host_log.log(host_log.Level.INFO, text.rstrip())
        return len(text)

    def flush(self) -> None:
        pass


def told(method):
    """An exception becomes a fault with its last line, and its traceback a line of the host's log."""

    @functools.wraps(method)
    def wrapped(*arguments):
        try:
            return method(*arguments)
        except Err:
            raise
        except Exception as error:
            host_log.log(host_log.Level.ERROR, traceback.format_exc(limit=-4))
            raise Err(Fault_Internal(f"{type(error).__name__}: {error}")) from error

    return wrapped


class Model(exports.Model):
    @told
    def configure(self, text: str, artifact: bytes | None, seed: int) -> None:
        global settings
        sys.stdout = sys.stderr = Log()
        if artifact is not None:
            raise Err(Fault_BadConfig("takes no artifact"))
        try:
            settings = detector.Settings(text)
        except ValueError as error:
            raise Err(Fault_BadConfig(str(error))) from error

    def describe(self) -> Descriptor:
        return Descriptor(
            name="my-model",
            version=VERSION,
            features=[Feature(name="value", unit=None, missing=MissingRule.SKIP_ROW)],
            outputs=[
                Output(name="sigmas", role=Role.SCORE, min=0.0, max=detector.SCORE_MAX),
                Output(name="low", role=Role.LOWER_BOUND, min=None, max=None),
                Output(name="high", role=Role.UPPER_BOUND, min=None, max=None),
            ],
            state=StateId(schema="my-model", revision=1),
            stride=STATE.size,
            accepts=[],
            warm_up_rows=settings.warm_up_rows,
            traits=Traits.LEARNS | Traits.BATCH_INVARIANT | Traits.DETERMINISTIC,
        )

    @told
    def score(self, rows: Batch, state: bytes) -> Scored:
        if len(state) % STATE.size:
            raise Err(Fault_BadState("not a multiple of the stride"))
        series = list(STATE.iter_unpack(state))
        scores, lows, highs = [], [], []
        flags = bytearray(rows.rows)
        for row, (slot, value) in enumerate(zip(rows.slot, rows.values)):
            if slot >= len(series):
                raise Err(Fault_BadInput("a row names a series that was not passed"))
            if series[slot][0] < settings.warm_up_rows:
                flags[row] = WARM_UP
            (score, low, high), series[slot] = detector.fold(series[slot], value, settings)
            scores.append(score)
            lows.append(low)
            highs.append(high)
        slab = b"".join(STATE.pack(*one) for one in series)
        return Scored(values=scores + lows + highs, row_flags=bytes(flags), state=slab)

    @told
    def upgrade_state(self, source: StateId, slots: int, state: bytes) -> bytes:
        raise Err(Fault_BadState(f"cannot read {source.schema} revision {source.revision}"))
