/** What a simulation was told wrongly. The message names the flag or the place in the file, and the fix. */
export class OptionsError extends Error {
  override readonly name = 'OptionsError'
}
