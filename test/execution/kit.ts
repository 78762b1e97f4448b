/** What the execution tests share. */
export * from './kit-lane.js'
export * from './kit-pods.js'
export * from './kit-sink.js'
export * from './kit-until.js'
export * from './kit-worker.js'
