/** Numbers and texts as the page shows them. */

export const escaped = (text: string): string =>
  text.replace(/[&<>"']/g, character => `&#${character.charCodeAt(0)};`)

/** `350 µs`, `12 ms`, `1.5 s`, `20 min`, `2 h`: as few digits as tell it. */
export function duration(ms: number): string {
  if (!Number.isFinite(ms)) return '–'
  if (ms === 0) return '0'
  if (ms < 1) return `${short(ms * 1000)} µs`
  if (ms < 1000) return `${short(ms)} ms`
  if (ms < 120_000) return `${short(ms / 1000)} s`
  return ms < 7_200_000 ? `${short(ms / 60_000)} min` : `${short(ms / 3_600_000)} h`
}

export const percent = (part: number): string => (Number.isFinite(part) ? `${short(100 * part)} %` : '–')

/** Three significant digits, without zeros behind the point. */
export const short = (value: number): string =>
  Number.isFinite(value) ? Number(value.toPrecision(3)).toLocaleString('en') : '–'
