/**
 * `npm run bench [-- [--quick] NAME…]`: runs the named benches, or all. `--tables=A,B` measures only these of the index
 * bench's tables.
 */
const quickFlag = '--quick'
const tablesFlag = '--tables='
const quick = process.argv.includes(quickFlag)
const tables = process.argv.find(argument => argument.startsWith(tablesFlag))
const only = tables?.slice(tablesFlag.length).split(',') ?? []

const benches: Readonly<Record<string, () => Promise<void>>> = {
  query: async () => (await import('./index/query.js')).benchQuery(),
  index: async () => (await import('./index/run.js')).benchIndex({ quick, only }),
  tokenize: async () => (await import('./tokenize/run.js')).benchTokenize(),
  events: async () => (await import('./events/run.js')).benchEvents({ quick }),
  proxy: async () => (await import('./proxy/run.js')).benchProxy({ quick }),
  scrape: async () => (await import('./scrape/run.js')).benchScrape({ quick }),
  policies: async () => (await import('./policies/run.js')).benchPolicies({ quick }),
  disaggregation: async () => (await import('./disaggregation/run.js')).benchDisaggregation({ quick }),
  simulate: async () => (await import('./simulate/run.js')).benchSimulate({ quick }),
}

const wanted = process.argv.slice(2).filter(word => word !== quickFlag && !word.startsWith(tablesFlag))
for (const name of wanted.length > 0 ? wanted : Object.keys(benches)) {
  const bench = benches[name]
  if (bench === undefined) {
    console.error(`no bench is named '${name}'; there are: ${Object.keys(benches).join(', ')}`)
    process.exit(2)
  }
  console.log(`== ${name}`)
  await bench()
}
// A bench's helpers (engines, load generator) end with this process, and hold it up until then.
process.exit(0)
