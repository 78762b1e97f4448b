/**
 * A file that lines are appended to and that makes room for the next when it is full: `path`, then `path.1` (the last
 * one that was full), `path.2`, … Asynchronous; one write at a time. Nothing else writes to it: one process, one file.
 */
import { type FileHandle, mkdir, open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'

export interface RotatingFileOptions {
  readonly path: string
  /** A file that would grow beyond this makes room first. In bytes. */
  readonly maxBytes: number
  /** Files kept, the one being written among them. */
  readonly files: number
}

/** Only its owner reads it: sizes, times and labels are nobody else's business. */
const MODE = 0o600

export class RotatingFile {
  #file: FileHandle | undefined
  #bytes = 0

  constructor(private readonly options: RotatingFileOptions) {}

  /** Appends; rejects with the file system's reason, after which the next call starts afresh. */
  async append(text: string): Promise<void> {
    const data = Buffer.from(text)
    try {
      if (this.#file !== undefined && this.#bytes > 0 && this.#bytes + data.length > this.options.maxBytes) {
        await this.#rotate()
      }
      const file = this.#file ?? (await this.#open(data.length))
      await file.appendFile(data)
      this.#bytes += data.length
    } catch (error) {
      await this.close()
      throw error
    }
  }

  async close(): Promise<void> {
    const file = this.#file
    this.#file = undefined
    // What could not be written was told already, and nothing is to be saved by a failing close.
    await file?.close().catch(() => undefined)
  }

  /** Goes on with the file that is there, unless it has no room for so many bytes. */
  async #open(wanted: number): Promise<FileHandle> {
    await mkdir(dirname(this.options.path), { recursive: true })
    this.#file = await open(this.options.path, 'a', MODE)
    this.#bytes = (await this.#file.stat()).size
    if (this.#bytes > 0 && this.#bytes + wanted > this.options.maxBytes) await this.#rotate()
    else await this.#endLine()
    this.#file ??= await open(this.options.path, 'a', MODE)
    return this.#file
  }

  /** A write that was cut short (a full disk, a crash) must not spoil the line that follows. */
  async #endLine(): Promise<void> {
    if (this.#bytes === 0) return
    const reader = await open(this.options.path, 'r')
    try {
      const { buffer } = await reader.read(Buffer.alloc(1), 0, 1, this.#bytes - 1)
      if (buffer[0] === NEWLINE) return
    } finally {
      await reader.close()
    }
    await this.#file?.appendFile('\n')
    this.#bytes++
  }

  /** Closes the file and moves every one a number on; the last falls off. */
  async #rotate(): Promise<void> {
    const { path, files } = this.options
    await this.close()
    const name = (at: number): string => (at === 0 ? path : `${path}.${at}`)
    await rm(name(files - 1), { force: true })
    for (let at = files - 2; at >= 0; at--) {
      await rename(name(at), name(at + 1)).catch((error: unknown) => {
        if (!isMissing(error)) throw error
      })
    }
    this.#bytes = 0
    this.#file = await open(path, 'a', MODE)
  }
}

const NEWLINE = 10

const isMissing = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && error.code === 'ENOENT'
