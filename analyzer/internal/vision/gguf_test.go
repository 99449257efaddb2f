package vision

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
)

// The types of a GGUF file, version 3: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
const (
	ggufUint32  = 4
	ggufInt32   = 5
	ggufFloat32 = 6
	ggufString  = 8
	ggufArray   = 9
	ggufF32     = 0  // type of a tensor
	ggufAlign   = 32 // of the tensors' data
)

// The types of a token in tokenizer.ggml.token_type.
const (
	tokenNormal  = 1
	tokenUnknown = 2
	tokenControl = 3
	tokenByte    = 6
)

// ggufFile collects the metadata and the tensors of a GGUF file. All numbers are little-endian.
type ggufFile struct {
	keys, tensors           int
	metadata, infos, values bytes.Buffer
}

func put(b *bytes.Buffer, values ...any) {
	for _, v := range values {
		switch v := v.(type) {
		case string:
			put(b, uint64(len(v)))
			b.WriteString(v)
		default:
			_ = binary.Write(b, binary.LittleEndian, v) // a Buffer returns no error
		}
	}
}

// set adds a key. Its type follows from the value's.
func (f *ggufFile) set(key string, value any) {
	f.keys++
	put(&f.metadata, key)
	switch v := value.(type) {
	case uint32:
		put(&f.metadata, uint32(ggufUint32), v)
	case float32:
		put(&f.metadata, uint32(ggufFloat32), v)
	case string:
		put(&f.metadata, uint32(ggufString), v)
	case []string:
		put(&f.metadata, uint32(ggufArray), uint32(ggufString), uint64(len(v)))
		for _, s := range v {
			put(&f.metadata, s)
		}
	case []float32:
		put(&f.metadata, uint32(ggufArray), uint32(ggufFloat32), uint64(len(v)), v)
	case []int32:
		put(&f.metadata, uint32(ggufArray), uint32(ggufInt32), uint64(len(v)), v)
	default:
		panic(fmt.Sprintf("no GGUF type for %T", value))
	}
}

// add adds a tensor of the given dimensions, the innermost first. at returns the value at an index of its data.
func (f *ggufFile) add(name string, at func(i int) float32, dimensions ...uint64) {
	f.tensors++
	put(&f.infos, name, uint32(len(dimensions)), dimensions, uint32(ggufF32), uint64(f.values.Len()))
	count := 1
	for _, n := range dimensions {
		count *= int(n)
	}
	for i := range count {
		put(&f.values, at(i))
	}
	pad(&f.values)
}

func pad(b *bytes.Buffer) { b.Write(make([]byte, -b.Len()&(ggufAlign-1))) }

func (f *ggufFile) bytes() []byte {
	var b bytes.Buffer
	b.WriteString("GGUF")
	put(&b, uint32(3), uint64(f.tensors), uint64(f.keys))
	b.Write(f.metadata.Bytes())
	b.Write(f.infos.Bytes())
	pad(&b)
	b.Write(f.values.Bytes())
	return b.Bytes()
}

// noise returns a text model of Llama's architecture with small random weights, always the same. Its tokens are single
// bytes, and its words are noise. Not random are the first number of each embedding, which is large and the same, and
// the first number of each row of the output, which thereby is the bias of a token. Letters are probable, quotation marks
// even more, so that texts end, and so is what continues or ends a list or an object.
func noise() []byte {
	const (
		width, layers, inner, heads = 32, 2, 64, 4
		constant                    = 4
	)
	tokens, types := []string{"<unk>", "<s>", "</s>"}, []int32{tokenUnknown, tokenControl, tokenControl}
	bias := []float32{-2, -2, 0}
	for b := range 256 {
		tokens, types, bias = append(tokens, fmt.Sprintf("<0x%02X>", b)), append(types, tokenByte), append(bias, -2)
	}
	for c := ' '; c <= '~'; c++ {
		token, own := string(c), float32(-1)
		switch {
		case c == ' ':
			token = "\u2581" // as SentencePiece writes it
		case c >= 'a' && c <= 'z', c == ',', c == ']', c == '}':
			own = 0.5
		case c == '"':
			own = 1
		}
		tokens, types, bias = append(tokens, token), append(types, tokenNormal), append(bias, own)
	}
	n := uint64(len(tokens))

	var f ggufFile
	f.set("general.architecture", "llama")
	f.set("general.name", "noise")
	f.set("general.file_type", uint32(0)) // F32
	f.set("llama.vocab_size", uint32(n))
	f.set("llama.context_length", uint32(8192))
	f.set("llama.embedding_length", uint32(width))
	f.set("llama.block_count", uint32(layers))
	f.set("llama.feed_forward_length", uint32(inner))
	f.set("llama.rope.dimension_count", uint32(width/heads))
	f.set("llama.attention.head_count", uint32(heads))
	f.set("llama.attention.head_count_kv", uint32(heads))
	f.set("llama.attention.layer_norm_rms_epsilon", float32(1e-5))
	f.set("tokenizer.ggml.model", "llama")
	f.set("tokenizer.ggml.tokens", tokens)
	f.set("tokenizer.ggml.scores", make([]float32, n))
	f.set("tokenizer.ggml.token_type", types)
	f.set("tokenizer.ggml.unknown_token_id", uint32(0))
	f.set("tokenizer.ggml.bos_token_id", uint32(1))
	f.set("tokenizer.ggml.eos_token_id", uint32(2))
	f.set("tokenizer.chat_template", "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}assistant: ")

	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // The weights only have to be the same each time.
	normal := func(int) float32 { return float32(random.NormFloat64()) / 8 }
	one := func(int) float32 { return 1 }
	f.add("token_embd.weight", func(i int) float32 {
		if i%width == 0 {
			return constant
		}
		return 8 * normal(i)
	}, width, n)
	for layer := range layers {
		name := fmt.Sprintf("blk.%d.", layer)
		f.add(name+"attn_norm.weight", one, width)
		for _, part := range []string{"attn_q", "attn_k", "attn_v", "attn_output"} {
			f.add(name+part+".weight", normal, width, width)
		}
		f.add(name+"ffn_norm.weight", one, width)
		f.add(name+"ffn_gate.weight", normal, width, inner)
		f.add(name+"ffn_up.weight", normal, width, inner)
		f.add(name+"ffn_down.weight", normal, inner, width)
	}
	f.add("output_norm.weight", one, width)
	f.add("output.weight", func(i int) float32 {
		if i%width == 0 {
			return bias[i/width]
		}
		return normal(i)
	}, width, n)
	return f.bytes()
}
