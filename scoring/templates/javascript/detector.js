// How far a value lies from where its series has been: an exponentially weighted z-score with a refractory period.
//
// Finch, "Incremental calculation of weighted mean and variance" (2009), section 9:
//
//     diff = x - mean;  step = a * diff;  mean' = mean + step;  variance' = (1 - a) * (variance + diff * step)
//
// with a = max(alpha, 1 / (n + 1)). The score is |x - mean| / sigma before the update; expected are the values within
// `trigger` such sigmas of the mean. After a score at or above `trigger` the next `refractory-rows` scores are held below
// half of it, so one event alarms once.
//
// Lives here: arithmetic and settings. Does not live here: the contract with the host (model.js).
// Only + - * / and sqrt are used, in this order: every machine, and the same model in another language, gives the same bytes.

// Greatest score; also the score of any change while sigma is 0.
export const SCORE_MAX = 1000;
// Values beyond it are taken for it, so that squares stay finite.
const MAGNITUDE_MAX = 1e150;
const ROWS_MAX = 2 ** 32 - 1;
// Rows seen (u32), refractory rows left (u32), mean (f64), variance (f64); little-endian. All zeros: never seen.
export const STRIDE = 24;

const DEFAULTS = {
  'alpha': 0.01, // weight of a new value, in (0, 1]
  'warm-up-rows': 100, // rows of a series before its scores mean something
  'trigger': 5, // score that starts the refractory period
  'refractory-rows': 100, // rows after a trigger whose scores are held down
  'sigma-min': 0, // least sigma, in the unit of the values
  'sigma-min-ratio': 0.001, // least sigma as a share of the mean
};

// Reads settings; throws an Error with what is wrong.
export function readSettings(text) {
  const given = text.trim() === '' ? {} : JSON.parse(text);
  if (given === null || typeof given !== 'object' || Array.isArray(given)) {
    throw new Error('settings are a JSON object');
  }
  const numbers = { ...DEFAULTS };
  for (const [name, number] of Object.entries(given)) {
    if (!Object.hasOwn(DEFAULTS, name)) throw new Error(`unknown: ${name}`);
    if (typeof number !== 'number') throw new Error(`${name} must be a number`);
    numbers[name] = number;
  }
  for (const name of ['warm-up-rows', 'refractory-rows']) {
    const number = numbers[name];
    if (!Number.isInteger(number) || number < 0 || number > ROWS_MAX) {
      throw new Error(`${name} must be a whole number from 0 to ${ROWS_MAX}`);
    }
  }
  if (!(numbers.alpha > 0 && numbers.alpha <= 1)) throw new Error('alpha must be above 0 and at most 1');
  for (const name of ['trigger', 'sigma-min', 'sigma-min-ratio']) {
    if (!(numbers[name] >= 0 && numbers[name] < Infinity)) throw new Error(`${name} must be finite and not negative`);
  }
  return {
    alpha: numbers.alpha,
    warmUpRows: numbers['warm-up-rows'],
    trigger: numbers.trigger,
    refractoryRows: numbers['refractory-rows'],
    sigmaMin: numbers['sigma-min'],
    sigmaMinRatio: numbers['sigma-min-ratio'],
  };
}

// Rows that a series has seen.
export function rowsSeen(slab, slot) {
  return slab.getUint32(slot * STRIDE, true);
}

function bounded(value) {
  const least = value > -MAGNITUDE_MAX ? value : -MAGNITUDE_MAX;
  return least < MAGNITUDE_MAX ? least : MAGNITUDE_MAX;
}

// Scores a value of a series of the slab (a DataView), then learns it; gives the score, and the least and the greatest
// value that would have been expected.
export function fold(slab, slot, value, settings) {
  const at = slot * STRIDE;
  const rows = slab.getUint32(at, true);
  const refractory = slab.getUint32(at + 4, true);
  const mean = slab.getFloat64(at + 8, true);
  const variance = slab.getFloat64(at + 16, true);

  const diff = bounded(value) - mean;
  const share = settings.sigmaMinRatio * Math.abs(mean);
  const floor = settings.sigmaMin > share ? settings.sigmaMin : share;
  const deviation = Math.sqrt(variance);
  const sigma = deviation > floor ? deviation : floor;
  const reach = settings.trigger * sigma;
  const low = bounded(mean - reach);
  const high = bounded(mean + reach);
  let score = 0;
  if (rows !== 0 && diff !== 0) {
    score = Math.abs(diff) / sigma;
    if (!(score < SCORE_MAX)) score = SCORE_MAX;
  }

  const plain = 1 / (rows + 1);
  const weight = settings.alpha > plain ? settings.alpha : plain;
  const step = weight * diff;
  slab.setFloat64(at + 8, mean + step, true);
  slab.setFloat64(at + 16, (1 - weight) * (variance + diff * step), true);

  slab.setUint32(at, rows < ROWS_MAX ? rows + 1 : rows, true);
  if (refractory > 0) {
    slab.setUint32(at + 4, refractory - 1, true);
    const held = settings.trigger / 2;
    if (!(score < held)) score = held;
  } else if (rows >= settings.warmUpRows && score >= settings.trigger) {
    slab.setUint32(at + 4, settings.refractoryRows, true);
  }
  return { score, low, high };
}
