/** `npm run bench [-- NAME…]`: runs the named benches, or all. */
const benches: Readonly<Record<string, () => Promise<void>>> = {
  query: async () => (await import('./index/run.js')).benchIndex(),
}

const wanted = process.argv.slice(2)
for (const name of wanted.length > 0 ? wanted : Object.keys(benches)) {
  const bench = benches[name]
  if (bench === undefined) {
    console.error(`no bench is named '${name}'; there are: ${Object.keys(benches).join(', ')}`)
    process.exit(2)
  }
  console.log(`== ${name}`)
  await bench()
}
