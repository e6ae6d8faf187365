// The contract with the host: what the model says of itself, and batches of rows through `detector`.
//
// The host keeps the state of every series as bytes and passes it in and out: nothing that a row taught may stay in this
// module. A model gets no clock, no random numbers, no file and no network.

import { log } from 'highwater:scoring/host-log@1.0.0';
import { fold, readSettings, rowsSeen, SCORE_MAX, STRIDE } from './detector.js';

const WARM_UP = 1;
let settings;

// What is thrown becomes a fault of the contract.
class Fault extends Error {
  constructor(tag, message) {
    super(message);
    this.payload = { tag, val: message };
  }
}

// Any other exception becomes a fault too, and its stack a line of the host's log.
function told(method) {
  return (...given) => {
    try {
      return method(...given);
    } catch (error) {
      if (error instanceof Fault) throw error;
      log('error', `${error}\n${error.stack}`);
      throw new Fault('internal', String(error));
    }
  };
}

export const model = {
  configure: told((text, artifact, _seed) => {
    if (artifact !== undefined) throw new Fault('bad-config', 'takes no artifact');
    try {
      settings = readSettings(text);
    } catch (error) {
      throw new Fault('bad-config', error.message);
    }
  }),

  describe: () => ({
    name: 'my-model',
    version: '0.1.0',
    features: [{ name: 'value', unit: undefined, missing: 'skip-row' }],
    outputs: [
      { name: 'sigmas', role: 'score', min: 0, max: SCORE_MAX },
      { name: 'low', role: 'lower-bound', min: undefined, max: undefined },
      { name: 'high', role: 'upper-bound', min: undefined, max: undefined },
    ],
    state: { schema: 'my-model', revision: 1 },
    stride: STRIDE,
    accepts: [],
    warmUpRows: settings.warmUpRows,
    traits: { learns: true, batchInvariant: true, deterministic: true },
  }),

  score: told((rows, state) => {
    if (state.length % STRIDE !== 0) throw new Fault('bad-state', 'not a multiple of the stride');
    const slab = new DataView(state.buffer, state.byteOffset, state.byteLength);
    const series = state.length / STRIDE;
    const count = rows.rows;
    // One column after the other: scores, lows, highs.
    const values = new Float64Array(3 * count);
    const rowFlags = new Uint8Array(count);
    for (let row = 0; row < count; row++) {
      const slot = rows.slot[row];
      if (slot >= series) throw new Fault('bad-input', 'a row names a series that was not passed');
      if (rowsSeen(slab, slot) < settings.warmUpRows) rowFlags[row] = WARM_UP;
      const { score, low, high } = fold(slab, slot, rows.values[row], settings);
      values[row] = score;
      values[count + row] = low;
      values[2 * count + row] = high;
    }
    return { values, rowFlags, state };
  }),

  upgradeState: told((source, _slots, _state) => {
    throw new Fault('bad-state', `cannot read ${source.schema} revision ${source.revision}`);
  }),
};
