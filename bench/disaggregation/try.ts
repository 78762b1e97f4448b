import { measure, rateOf } from './cell.js'
import { subjects } from './subjects.js'
const [inputs = '10000,100000', loads = '0.25,0.5,0.75', n = '200', which = '', caution = '1', seed = '1'] = process.argv.slice(2)
for (const input of inputs.split(',').map(Number))
  for (const load of loads.split(',').map(Number)) {
    console.log(`input ${input} load ${load} rate ${rateOf({ input, load })}`)
    for (const s of subjects(Number(caution)).filter(({ name }) => which === '' || which.split(',').some(w => name.startsWith(w)))) {
      const r = await measure(s, { input, load }, Number(seed), Number(n))
      const f = (x: number) => x.toFixed(1).padStart(8)
      console.log(
        s.name.padEnd(20), 'slo', f(100 * r.goodput.fraction), 'tpot p50/p99', f(r.tpotMs.p50), f(r.tpotMs.p99),
        'ttft mean/p99', f(r.ttftMs.mean), f(r.ttftMs.p99), 'e2e', f(r.e2eMs.mean), 'moved', r.handOffs.requests, f(r.handOffs.ms.mean), 'pre', r.preemptions, 'wall', f(r.wallMs),
        r.pods.map(p => `${p.requests}`).join(' '), '/', r.pods.map(p => Math.round(p.promptTokens / input)).join(' '),
      )
    }
  }
