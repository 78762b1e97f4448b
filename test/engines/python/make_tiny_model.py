"""A Qwen2 of two layers with random weights and Qwen2.5's own tokenizer, for vLLM and for llama.cpp.

usage: make_tiny_model.py OUT_DIR TOKENIZER_DIR

Writes OUT_DIR/tiny (Hugging Face layout, bfloat16) and OUT_DIR/tiny.gguf (float16). Both hold the same weights. What
the model says is noise, but templates, tokens, prefix caches, streams and errors are those of a real one, and it
answers in milliseconds on a CPU. It needs numpy and gguf only: importing torch would take longer than all of this.
"""

import json
import shutil
import sys
from pathlib import Path

import gguf
import numpy as np

VOCAB, HIDDEN, FEED_FORWARD, LAYERS, HEADS, CONTEXT = 151936, 64, 128, 2, 2, 4096
BOS, EOS = 151643, 151645  # <|endoftext|>, <|im_end|>
RMS_EPS, ROPE_THETA = 1e-6, 10000.0
# Wider than a trained model's 0.02, so that the next token depends on the prompt and not on rounding.
DEVIATION = 0.2

CONFIG = {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "dtype": "bfloat16",
    "vocab_size": VOCAB,
    "hidden_size": HIDDEN,
    "intermediate_size": FEED_FORWARD,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": HEADS,
    "max_position_embeddings": CONTEXT,
    "hidden_act": "silu",
    "rms_norm_eps": RMS_EPS,
    "rope_theta": ROPE_THETA,
    "tie_word_embeddings": True,
    "use_sliding_window": False,
    "bos_token_id": BOS,
    "eos_token_id": EOS,
}

# Names of a layer's tensors: Hugging Face's, then GGUF's.
LAYER_MATRICES = {
    "self_attn.q_proj.weight": ("attn_q.weight", (HIDDEN, HIDDEN)),
    "self_attn.k_proj.weight": ("attn_k.weight", (HIDDEN, HIDDEN)),
    "self_attn.v_proj.weight": ("attn_v.weight", (HIDDEN, HIDDEN)),
    "self_attn.o_proj.weight": ("attn_output.weight", (HIDDEN, HIDDEN)),
    "mlp.gate_proj.weight": ("ffn_gate.weight", (FEED_FORWARD, HIDDEN)),
    "mlp.up_proj.weight": ("ffn_up.weight", (FEED_FORWARD, HIDDEN)),
    "mlp.down_proj.weight": ("ffn_down.weight", (HIDDEN, FEED_FORWARD)),
}
LAYER_BIASES = {f"self_attn.{x}_proj.bias": f"attn_{x}.bias" for x in "qkv"}
LAYER_NORMS = {"input_layernorm.weight": "attn_norm.weight", "post_attention_layernorm.weight": "ffn_norm.weight"}


def make_weights():
    """Yields (Hugging Face name, GGUF name, float32 array)."""
    random = np.random.default_rng(0)

    def matrix(shape):
        return (random.standard_normal(shape, dtype=np.float32) * DEVIATION).astype(np.float32)

    yield "model.embed_tokens.weight", "token_embd.weight", matrix((VOCAB, HIDDEN))
    yield "model.norm.weight", "output_norm.weight", np.ones(HIDDEN, np.float32)
    for layer in range(LAYERS):
        hf, gg = f"model.layers.{layer}.", f"blk.{layer}."
        for name, (other, shape) in LAYER_MATRICES.items():
            yield hf + name, gg + other, matrix(shape)
        for name, other in LAYER_BIASES.items():
            yield hf + name, gg + other, np.zeros(HIDDEN, np.float32)
        for name, other in LAYER_NORMS.items():
            yield hf + name, gg + other, np.ones(HIDDEN, np.float32)


def to_bfloat16(array):
    """The upper half of a float32, rounded to nearest; numpy has no bfloat16 of its own."""
    bits = array.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def write_safetensors(path, weights):
    """https://github.com/huggingface/safetensors#format: u64 length, JSON header, then the bytes of each tensor."""
    header, parts, offset = {"__metadata__": {"format": "pt"}}, [], 0
    for name, _, array in weights:
        data = to_bfloat16(array).tobytes()
        header[name] = {"dtype": "BF16", "shape": array.shape, "data_offsets": [offset, offset + len(data)]}
        parts.append(data)
        offset += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        file.writelines(parts)


def write_gguf(path, weights, tokenizer_dir):
    writer = gguf.GGUFWriter(path, "qwen2")
    writer.add_name("tiny")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_block_count(LAYERS)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_freq_base(ROPE_THETA)
    writer.add_layer_norm_rms_eps(RMS_EPS)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    add_tokenizer(writer, tokenizer_dir)
    for _, name, array in weights:
        # llama.cpp wants vectors (norms, biases) in float32.
        writer.add_tensor(name, array if array.ndim == 1 else array.astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add_tokenizer(writer, tokenizer_dir):
    """tokenizer.json as llama.cpp's own convert_hf_to_gguf.py maps it."""
    model = json.loads((tokenizer_dir / "tokenizer.json").read_text(encoding="utf-8"))
    config = json.loads((tokenizer_dir / "tokenizer_config.json").read_text(encoding="utf-8"))
    tokens = [f"[PAD{i}]" for i in range(VOCAB)]
    types = [gguf.TokenType.UNUSED] * VOCAB
    for token, index in model["model"]["vocab"].items():
        tokens[index], types[index] = token, gguf.TokenType.NORMAL
    for added in model["added_tokens"]:
        kind = gguf.TokenType.CONTROL if added["special"] else gguf.TokenType.USER_DEFINED
        tokens[added["id"]], types[added["id"]] = added["content"], kind
    merges = model["model"]["merges"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in merges])
    writer.add_bos_token_id(BOS)
    writer.add_eos_token_id(EOS)
    writer.add_add_bos_token(False)
    writer.add_chat_template(config["chat_template"])


def main():
    out, tokenizer_dir = Path(sys.argv[1]), Path(sys.argv[2])
    tiny = out / "tiny"
    tiny.mkdir(parents=True, exist_ok=True)
    weights = list(make_weights())
    (tiny / "config.json").write_text(json.dumps(CONFIG, indent=2))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tokenizer_dir / name, tiny)
    write_safetensors(tiny / "model.safetensors", weights)
    write_gguf(out / "tiny.gguf", weights, tokenizer_dir)


if __name__ == "__main__":
    main()
