/** Engine-control paths: a router must never forward them, and here they do what they say, so that it would show. */
import { z } from 'zod'
import type { Call } from '../call.js'
import { ApiError } from '../respond.js'

export function resetPrefixCache(call: Call): void {
  const done = call.runtime.ranks.map(({ engine }) => engine.resetCache())
  call.json(200, { success: done.every(success => success) })
}

export function sleep(call: Call): void {
  call.runtime.isAsleep = true
  call.text(200, '')
}

export function wakeUp(call: Call): void {
  call.runtime.isAsleep = false
  call.text(200, '')
}

export function isSleeping(call: Call): void {
  call.json(200, { is_sleeping: call.runtime.isAsleep })
}

const loraRequest = z.looseObject({ lora_name: z.string().min(1), lora_path: z.string().optional() })

export function loadLora(call: Call): void {
  const { lora_name } = call.parse(loraRequest)
  const { models } = call.runtime
  if (models.has(lora_name)) {
    const message = `The lora adapter '${lora_name}' has already been loaded.`
    throw new ApiError(400, 'InvalidUserInput', message)
  }
  models.add(lora_name)
  call.text(200, `Success: LoRA adapter '${lora_name}' added successfully.`)
}

export function unloadLora(call: Call): void {
  const { lora_name } = call.parse(loraRequest)
  const { models, options } = call.runtime
  if (lora_name === options.model || !models.delete(lora_name)) {
    throw ApiError.notFound(`The lora adapter '${lora_name}' cannot be found.`, 'lora_name')
  }
  call.text(200, `Success: LoRA adapter '${lora_name}' removed successfully.`)
}
