import { measure, rateOf } from './cell.js'
import { subjects } from './subjects.js'
const [inputs = '10000,100000', loads = '0.25,0.5,0.75', n = '200', which = '', seed = '1'] = process.argv.slice(2)
for (const input of inputs.split(',').map(Number))
  for (const load of loads.split(',').map(Number)) {
    const rate = rateOf({ input, load })
    console.log(`input ${input} load ${load} rate ${rate}`)
    for (const s of subjects.filter(({ name }) => which === '' || which.split(';').some(w => name === w))) {
      const t0 = performance.now()
      const r = await measure(s, { input, load }, Number(seed), Math.max(Number(n), Math.ceil(rate * 200)))
      const f = (x: number) => x.toFixed(1).padStart(8)
      console.log(s.name.padEnd(20), 'good', f((100 * r.goodput) / rate), 'tpot99', f(r.tpotP99), 'ttft', f(r.ttftMean), f(r.ttftP99), 'split', f(r.split * 100), f((performance.now() - t0) / 1000))
    }
  }
