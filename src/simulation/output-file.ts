/** Files that a run's results go to. */
import { accessSync, constants, statSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { OptionsError } from './options/failure.js'

/** A run takes minutes: it should not be lost to a folder that is not there. Throws an OptionsError. */
export function checkFolder(flag: string, file: string): void {
  attempt(flag, file, () => {
    if (statSync(file, { throwIfNoEntry: false })?.isDirectory() === true)
      throw new Error('it is a directory')
    accessSync(dirname(file), constants.W_OK)
  })
}

/** Throws an OptionsError. */
export const save = (flag: string, file: string, content: string): void =>
  attempt(flag, file, () => writeFileSync(file, content))

function attempt(flag: string, file: string, act: () => void): void {
  try {
    act()
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    throw new OptionsError(`${flag}  cannot write ${file}: ${why}`)
  }
}
