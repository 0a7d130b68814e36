#!/usr/bin/env bash
# jrl-model: making, looking at, casting, comparing and hashing policies; policies that are refused.
. "$(dirname "$0")/tap.sh"

sizes=dim=64,layers=2,heads=4,kv-heads=2,mlp=96,positions=128

made_whole() {
    [ "$(find . -mindepth 1 -maxdepth 1 -name "$1" -type d | wc -l)" -eq 1 ] && [ "$(find . -maxdepth 1 -name '.*.tmp' | wc -l)" -eq 0 ]
}

ok 'make writes a policy' jrl-model make --shape "$sizes" --seed 3 -o a
ok 'under its final name only' made_whole a
ok 'with config, generation config, tokenizer and weights' test -s a/config.json -a -s a/generation_config.json -a -s a/tokenizer.json -a -s a/tokenizer_config.json -a -s a/model.safetensors
jrl-model make --shape "$sizes" --seed 3 -t 1 -o b
jrl-model make --shape "$sizes" --seed 4 -o c
ok 'the same seed gives the same weights, whatever the threads' same a/model.safetensors b/model.safetensors
ok 'another seed gives others' exits 1 cmp -s a/model.safetensors c/model.safetensors

hash_of() { jrl-model hash "$1"; }
ok 'hash is 32 hex digits' grep -Eqx '[0-9a-f]{32}' <(hash_of a)
ok 'hash is the same for the same policy' test "$(hash_of a)" = "$(hash_of b)"
ok 'hash differs for another' test "$(hash_of a)" != "$(hash_of c)"
ok 'info names the id' grep -q "$(hash_of a)" <(jrl-model info a)
ok 'info -j counts parameters' test "$(jrl-model info -j a | jq .parameters)" -eq $((259 * 64 + 2 * (2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 96 + 2 * 64) + 64))
ok 'info -j gives bytes' test "$(jrl-model info -j a | jq '.weight_bytes == 2 * .parameters and .kv_bytes_per_token == 2 * 2 * 32 * 2')" = true

ok 'make of a known shape with changes' jrl-model make --shape smollm2-135m,layers=1,dim=64,mlp=64,vocab=300 --arch qwen2 --dtype f32 -o d
ok 'takes both' test "$(jrl-model info -j d | jq -c '[.arch, .layers, .heads, .dim, .dtype, .vocab]')" = '["qwen2",1,9,64,"float32",300]'
jq '.num_hidden_layers = 3' a/config.json > config.json
ok 'make from a config.json' jrl-model make --config config.json --tokenizer a -o e
ok 'has its layers' test "$(jrl-model info -j e | jq .layers)" -eq 3
ok 'and the tokenizer of the other folder' same a/tokenizer.json e/tokenizer.json

ok 'cast to f32' jrl-model cast --dtype f32 -o f a
ok 'changes the type in config.json and nothing else' test "$(jq -c 'del(.torch_dtype)' a/config.json) float32" = "$(jq -c 'del(.torch_dtype)' f/config.json) $(jq -r .torch_dtype f/config.json)"
ok 'without loss' test "$(jrl-model compare -j a f | jq -s 'map(.different) | add')" -eq 0
jrl-model cast --dtype bf16 -o g f
ok 'and back: the same weights' same a/model.safetensors g/model.safetensors
ok 'the same policy' test "$(hash_of a)" = "$(hash_of g)"
ok 'compare finds the differences' test "$(jrl-model compare -j a c | jq -s 'map(select(.max_abs > 0.01)) | length')" -gt 10
ok 'compare prints a table' grep -Eq '^0 .* 0 of 16576 .* model.embed_tokens.weight$' <(jrl-model compare a b)

ok 'an existing folder is not touched' fails_with 2 "'--output a' exists already; a policy is never replaced" jrl-model make --shape "$sizes" -o a
ok 'unknown verb' fails_with 2 "'grow' is not one of make, info" jrl-model grow a
ok 'missing operand' fails_with 2 'info wants the operands DIR' jrl-model info
ok 'make without output' fails_with 2 'make wants --output DIR' jrl-model make
ok 'an option without effect' fails_with 2 'error: --seed has no effect on info' jrl-model info --seed 1 a
ok '--shape and --config' fails_with 2 'exclude each other' jrl-model make --shape dim=64 --config config.json -o x
ok 'a shape that is none' fails_with 2 "'giant' is neither NAME=NUMBER nor a known shape" jrl-model make --shape giant -o x
ok 'a number that is none' fails_with 2 "'dim=6x' is not a number" jrl-model make --shape dim=6x -o x
ok 'heads that do not divide' fails_with 2 'heads 4 is no multiple of kv-heads 3' jrl-model make --shape heads=4,kv-heads=3 -o x
ok 'a vocabulary below the tokenizer' fails_with 2 'ids up to 258, the vocabulary of the model only 100 rows' jrl-model make --shape vocab=100 -o x
ok 'nothing is left of failures' test ! -e x
ok 'a full disk behind standard output' fails_with 1 'cannot write standard output' sh -c 'jrl-model info a > /dev/full'

# Policies that are refused: each its own folder.
broken() { rm -rf broken && cp -r a broken && rm -f broken/state.json; }
edit_config() { broken && jq "$1" a/config.json > broken/config.json; }
broken && rm broken/config.json
ok 'no config.json' fails_with 3 "broken/config.json'.*No such file" jrl-model info broken
broken && rm broken/model.safetensors
ok 'no weights' fails_with 3 'holds neither model.safetensors nor' jrl-model info broken
ok 'no folder' fails_with 3 'No such file' jrl-model info nowhere
broken && echo '{' > broken/config.json
ok 'broken JSON' fails_with 3 'not valid JSON: line' jrl-model info broken
edit_config '.rope_scaling = {rope_type: "yarn", factor: 4}'
ok 'rope scaling' fails_with 3 "rope_scaling of type 'yarn' is not supported" jrl-model info broken
edit_config '.use_sliding_window = true'
ok 'a sliding window' fails_with 3 'use_sliding_window is true: not supported' jrl-model info broken
edit_config '.model_type = "qwen3"'
ok 'another model' fails_with 3 "model_type 'qwen3' is not supported" jrl-model info broken
edit_config '.num_hidden_layers = 3'
ok 'missing tensors' fails_with 3 "tensor 'model.layers.2.input_layernorm.weight' is missing" jrl-model info broken
edit_config '.num_hidden_layers = 1'
ok 'tensors too many' fails_with 3 "tensor 'model.layers.1.* is no part of the llama model" jrl-model info broken
edit_config '.vocab_size = 300'
ok 'a wrong shape' fails_with 3 'has shape .259,64., config.json asks for .300,64.' jrl-model info broken
edit_config '.eos_token_id = 259'
ok 'an end token without a row' fails_with 3 'eos_token_id is not a token id below' jrl-model info broken
broken && head -c 30000 a/model.safetensors > broken/model.safetensors
ok 'a cut file' fails_with 3 'outside the .* bytes of the file' jrl-model info broken
broken && printf '\377\377\377\377\377\377\377\177{}' > broken/model.safetensors
ok 'a huge header' fails_with 3 'above the limit' jrl-model info broken
broken && cp a/tokenizer.json broken/model.safetensors
ok 'a foreign file' fails_with 3 'not a safetensors file' jrl-model info broken
broken && printf 'x' >> broken/model.safetensors
ok 'bytes behind the end' fails_with 3 '1 bytes at the end belong to no tensor' jrl-model info broken
# What would be waited for, for ever, or is no file at all.
not_a_file() { # FILE
    broken && rm -f "broken/$1" && mkfifo "broken/$1" && refused "$1" || return
    broken && rm -f "broken/$1" && mkdir "broken/$1" && refused "$1"
}
refused() { fails_with 3 "^jrl-sample: error: 'broken/$1' is not a regular file" timeout 20 jrl-sample --policy broken; }
for file in config.json generation_config.json tokenizer.json tokenizer_config.json model.safetensors; do ok "no file: $file" not_a_file "$file"; done
not_a_shard() { broken && mv broken/model.safetensors broken/1.safetensors && mkfifo "broken/$1"; }
ok 'an index that is no file' eval 'not_a_shard model.safetensors.index.json && refused model.safetensors.index.json'
ok 'a config.json that a command writes' jrl-model make --config <(cat config.json) -o piped
broken && cp a/state.json broken/ && cp -p a/model.safetensors broken/ && cp -p a/config.json a/tokenizer.json broken/ &&
    printf '\001\002' | dd of=broken/model.safetensors bs=1 seek=20000 conv=notrunc status=none && touch -r a/model.safetensors broken/model.safetensors
ok 'damage that state.json does not know of' fails_with 3 'they are damaged or were changed' jrl-model hash broken
done_testing
