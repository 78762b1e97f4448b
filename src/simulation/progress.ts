/** Progress for people: a bar on a terminal, a line every quarter elsewhere. */
import { SingleBar } from 'cli-progress'

const SIGNALS = ['SIGINT', 'SIGTERM'] as const

export interface Progress {
  step(): void
  done(): void
}

/**
 * @param write takes plain lines
 * @param terminal where the bar draws itself
 * @param noun what is counted
 */
export function startProgress(
  title: string,
  total: number,
  isTerminal: boolean,
  write: (text: string) => void,
  terminal: NodeJS.WritableStream = process.stdout,
  noun = 'requests',
): Progress {
  return isTerminal ? barProgress(title, total, noun, terminal) : lineProgress(title, total, noun, write)
}

function barProgress(title: string, total: number, noun: string, stream: NodeJS.WritableStream): Progress {
  const bar = new SingleBar({
    format: `${title} [{bar}] {value}/{total} ${noun}, {duration_formatted}`,
    stream,
    hideCursor: true,
  })
  /** The bar hides the cursor and turns line wrapping off; Ctrl-C must not leave a terminal so. */
  const restore = (signal: NodeJS.Signals): void => {
    done()
    // Nobody listens any more, so the signal does what it would have done.
    process.kill(process.pid, signal)
  }
  const done = (): void => {
    for (const name of SIGNALS) process.off(name, restore)
    bar.stop()
  }
  for (const name of SIGNALS) process.on(name, restore)
  bar.start(total, 0)
  return { step: () => bar.increment(), done }
}

function lineProgress(title: string, total: number, noun: string, write: (text: string) => void): Progress {
  let count = 0
  let told = 0
  return {
    step() {
      count++
      const quarter = Math.floor((count * 4) / total)
      if (quarter === told) return
      told = quarter
      write(`${title} ${count}/${total} ${noun}\n`)
    },
    done: () => undefined,
  }
}
