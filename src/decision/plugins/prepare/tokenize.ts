import { OPS } from '../../../data/native.js'
import { nativeStep } from '../../factories.js'
import { promptLength, promptTokens } from '../../slots.js'

/** The chat template and the tokenizer of the model, so that the tokens are those the engine will see. */
export const tokenize = nativeStep({
  name: 'tokenize',
  summary: "Renders the model's chat template and tokenizes the prompt.",
  op: OPS.tokenize,
  writes: [promptTokens, promptLength],
})
