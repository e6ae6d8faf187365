// From modules to a component: what `build` runs.
import { componentize } from '@bytecodealliance/componentize-js';
import { writeFile } from 'node:fs/promises';

const { component } = await componentize({
  sourcePath: 'model.js',
  witPath: 'wit',
  worldName: 'scorer',
  // A model gets none of it, and what is left out is not imported.
  disableFeatures: ['stdio', 'random', 'clocks', 'http', 'fetch-event'],
});
await writeFile('my-model.wasm', component);
