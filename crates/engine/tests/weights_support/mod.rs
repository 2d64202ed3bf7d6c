//! A GGUF writer and small models for the tests of `engine::weights`.
//!
//! The writer follows the format's description and nothing of the reader, and lets a test break
//! every rule: counts, offsets and alignment can be given by hand.
#![allow(dead_code, reason = "each test binary uses its own part")]

pub mod hf;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// ggml's numbers of tensor types.
pub const F32: u32 = 0;
pub const Q4_0: u32 = 2;
pub const Q8_0: u32 = 8;

/// A metadata value, as bytes with its type number before them.
pub fn u32_value(x: u32) -> Vec<u8> {
    [4u32.to_le_bytes(), x.to_le_bytes()].concat()
}

pub fn f32_value(x: f32) -> Vec<u8> {
    [6u32.to_le_bytes(), x.to_le_bytes()].concat()
}

pub fn bool_value(x: bool) -> Vec<u8> {
    [&7u32.to_le_bytes()[..], &[u8::from(x)]].concat()
}

pub fn str_value(text: &str) -> Vec<u8> {
    [&8u32.to_le_bytes()[..], &string(text)].concat()
}

pub fn str_array_value(texts: &[&str]) -> Vec<u8> {
    let mut bytes = array_header(8, texts.len() as u64);
    bytes.extend(texts.iter().flat_map(|text| string(text)));
    bytes
}

pub fn f32_array_value(numbers: &[f32]) -> Vec<u8> {
    let mut bytes = array_header(6, numbers.len() as u64);
    bytes.extend(numbers.iter().flat_map(|x| x.to_le_bytes()));
    bytes
}

pub fn i32_array_value(numbers: &[i32]) -> Vec<u8> {
    let mut bytes = array_header(5, numbers.len() as u64);
    bytes.extend(numbers.iter().flat_map(|x| x.to_le_bytes()));
    bytes
}

/// Type "array", element type and a count that may lie.
pub fn array_header(element_type: u32, count: u64) -> Vec<u8> {
    let mut bytes = [9u32.to_le_bytes(), element_type.to_le_bytes()].concat();
    bytes.extend(count.to_le_bytes());
    bytes
}

fn string(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

/// A tensor to be written.
#[derive(Clone, Debug)]
pub struct GgufTensor {
    pub name: String,
    /// Fastest first, as in the file.
    pub dims: Vec<u64>,
    pub type_id: u32,
    pub data: Vec<u8>,
    /// Instead of the right offset.
    pub offset: Option<u64>,
}

/// A GGUF file to be written.
#[derive(Clone, Debug)]
pub struct GgufFile {
    pub magic: [u8; 4],
    pub version: u32,
    pub pairs: Vec<(String, Vec<u8>)>,
    pub tensors: Vec<GgufTensor>,
    pub alignment: usize,
    /// Instead of the right counts.
    pub num_tensors: Option<u64>,
    pub num_pairs: Option<u64>,
}

impl Default for GgufFile {
    fn default() -> Self {
        GgufFile {
            magic: *b"GGUF",
            version: 3,
            pairs: Vec::new(),
            tensors: Vec::new(),
            alignment: 32,
            num_tensors: None,
            num_pairs: None,
        }
    }
}

impl GgufFile {
    /// Sets a metadata value, in place of one that is there.
    pub fn set(&mut self, key: &str, value: Vec<u8>) -> &mut Self {
        match self.pairs.iter_mut().find(|(other, _)| other == key) {
            Some((_, old)) => *old = value,
            None => self.pairs.push((key.to_owned(), value)),
        }
        self
    }

    pub fn remove(&mut self, key: &str) -> &mut Self {
        self.pairs.retain(|(other, _)| other != key);
        self
    }

    /// Adds an F32 tensor; `shape` has the slowest dimension first.
    pub fn add_f32(&mut self, name: &str, shape: &[usize], data: &[f32]) -> &mut Self {
        assert_eq!(shape.iter().product::<usize>(), data.len(), "{name}");
        self.tensors.push(GgufTensor {
            name: name.to_owned(),
            dims: shape.iter().rev().map(|&dim| dim as u64).collect(),
            type_id: F32,
            data: data.iter().flat_map(|x| x.to_le_bytes()).collect(),
            offset: None,
        });
        self
    }

    pub fn tensor_mut(&mut self, name: &str) -> &mut GgufTensor {
        self.tensors.iter_mut().find(|tensor| tensor.name == name).unwrap()
    }

    /// The file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.magic.to_vec();
        bytes.extend(self.version.to_le_bytes());
        bytes.extend(self.num_tensors.unwrap_or(self.tensors.len() as u64).to_le_bytes());
        bytes.extend(self.num_pairs.unwrap_or(self.pairs.len() as u64).to_le_bytes());
        for (key, value) in &self.pairs {
            bytes.extend(string(key));
            bytes.extend(value);
        }
        let mut data = Vec::new();
        for tensor in &self.tensors {
            pad(&mut data, self.alignment);
            bytes.extend(string(&tensor.name));
            bytes.extend((tensor.dims.len() as u32).to_le_bytes());
            bytes.extend(tensor.dims.iter().flat_map(|dim| dim.to_le_bytes()));
            bytes.extend(tensor.type_id.to_le_bytes());
            bytes.extend(tensor.offset.unwrap_or(data.len() as u64).to_le_bytes());
            data.extend(&tensor.data);
        }
        pad(&mut bytes, self.alignment);
        bytes.extend(data);
        bytes
    }
}

fn pad(bytes: &mut Vec<u8>, alignment: usize) {
    bytes.resize(bytes.len().next_multiple_of(alignment), 0);
}

/// Different small numbers for every element and every seed; exact in bfloat16.
pub fn numbers(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            ((state >> 40) as i32 % 128) as f32 / 32.0
        })
        .collect()
}

/// Shape of the small models.
pub const NUM_LAYERS: usize = 2;
pub const HIDDEN: usize = 16;
pub const INTERMEDIATE: usize = 8;
pub const NUM_QO_HEADS: usize = 2;
pub const NUM_KV_HEADS: usize = 1;
pub const HEAD_DIM: usize = 8;
pub const VOCAB: usize = 8;

/// A model as Hugging Face has it: tensors by name, shapes slowest first.
pub type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// A whole small model in GGUF and the tensors that a reader must see in it.
pub struct SmallModel {
    pub file: GgufFile,
    pub expected: Tensors,
}

/// `arch` is `llama`, `qwen2` or `qwen3`; q and k of `llama` are stored interleaved.
pub fn small_model(arch: &str) -> SmallModel {
    small_model_with(arch, arch == "qwen2", false, HEAD_DIM)
}

/// With biases on q, k and v or everywhere, and with the first `rotary_dim` elements turning.
pub fn small_model_with(
    arch: &str,
    qkv_bias: bool,
    all_biases: bool,
    rotary_dim: usize,
) -> SmallModel {
    let mut file = GgufFile::default();
    write_metadata(&mut file, arch, rotary_dim);
    let mut model = SmallModel { file, expected: Tensors::new() };
    let (q_size, kv_size) = (NUM_QO_HEADS * HEAD_DIM, NUM_KV_HEADS * HEAD_DIM);
    model.add("token_embd.weight", "model.embed_tokens.weight", &[VOCAB, HIDDEN], None);
    for layer_idx in 0..NUM_LAYERS {
        let interleave = (arch == "llama").then_some(rotary_dim);
        let mut add = |gguf: &str, hf: &str, shape: &[usize], interleave: Option<usize>| {
            let gguf = format!("blk.{layer_idx}.{gguf}");
            let hf = format!("model.layers.{layer_idx}.{hf}");
            model.add(&gguf, &hf, shape, interleave);
        };
        add("attn_norm.weight", "input_layernorm.weight", &[HIDDEN], None);
        for (gguf, hf, rows, cols, interleave, is_qkv) in [
            ("attn_q", "self_attn.q_proj", q_size, HIDDEN, interleave, true),
            ("attn_k", "self_attn.k_proj", kv_size, HIDDEN, interleave, true),
            ("attn_v", "self_attn.v_proj", kv_size, HIDDEN, None, true),
            ("attn_output", "self_attn.o_proj", HIDDEN, q_size, None, false),
            ("ffn_gate", "mlp.gate_proj", INTERMEDIATE, HIDDEN, None, false),
            ("ffn_up", "mlp.up_proj", INTERMEDIATE, HIDDEN, None, false),
            ("ffn_down", "mlp.down_proj", HIDDEN, INTERMEDIATE, None, false),
        ] {
            add(&format!("{gguf}.weight"), &format!("{hf}.weight"), &[rows, cols], interleave);
            if all_biases || (qkv_bias && is_qkv) {
                add(&format!("{gguf}.bias"), &format!("{hf}.bias"), &[rows], interleave);
            }
        }
        if arch == "qwen3" {
            add("attn_q_norm.weight", "self_attn.q_norm.weight", &[HEAD_DIM], None);
            add("attn_k_norm.weight", "self_attn.k_norm.weight", &[HEAD_DIM], None);
        }
        add("ffn_norm.weight", "post_attention_layernorm.weight", &[HIDDEN], None);
    }
    model.add("output_norm.weight", "model.norm.weight", &[HIDDEN], None);
    model.add("output.weight", "lm_head.weight", &[VOCAB, HIDDEN], None);
    model
}

impl SmallModel {
    /// Adds a tensor of fresh numbers to the file and to what is expected.
    fn add(&mut self, gguf: &str, hf: &str, shape: &[usize], interleave: Option<usize>) {
        let data = numbers(shape.iter().product(), self.expected.len() as u64 + 1);
        let row_len = if shape.len() == 1 { 1 } else { shape[1] };
        let stored = match interleave {
            Some(rotary_dim) => interleaved(&data, row_len, rotary_dim),
            None => data.clone(),
        };
        self.file.add_f32(gguf, shape, &stored);
        self.expected.insert(hf.to_owned(), (shape.to_vec(), data));
    }

    /// With the first layer only.
    pub fn one_layer(mut self, arch: &str) -> Self {
        self.file.tensors.retain(|tensor| !tensor.name.starts_with("blk.1."));
        self.expected.retain(|name, _| !name.starts_with("model.layers.1."));
        self.file.set(&format!("{arch}.block_count"), u32_value(1));
        self
    }

    /// Without `output.weight`.
    pub fn tied(mut self) -> Self {
        self.file.tensors.retain(|tensor| tensor.name != "output.weight");
        self.expected.remove("lm_head.weight");
        self
    }
}

/// llama.cpp's order: within the turning part of each head, (0, half), (1, half + 1), …
pub fn interleaved(data: &[f32], row_len: usize, rotary_dim: usize) -> Vec<f32> {
    let mut stored = Vec::with_capacity(data.len());
    for head in data.chunks(HEAD_DIM * row_len) {
        let rows: Vec<&[f32]> = head.chunks(row_len).collect();
        for i in 0..rotary_dim / 2 {
            stored.extend(rows[i]);
            stored.extend(rows[i + rotary_dim / 2]);
        }
        stored.extend(rows[rotary_dim..].concat());
    }
    stored
}

fn write_metadata(file: &mut GgufFile, arch: &str, rotary_dim: usize) {
    file.set("general.architecture", str_value(arch));
    for (key, value) in [
        ("block_count", NUM_LAYERS),
        ("context_length", 128),
        ("embedding_length", HIDDEN),
        ("feed_forward_length", INTERMEDIATE),
        ("attention.head_count", NUM_QO_HEADS),
        ("attention.head_count_kv", NUM_KV_HEADS),
        ("attention.key_length", HEAD_DIM),
        ("attention.value_length", HEAD_DIM),
        ("rope.dimension_count", rotary_dim),
        ("vocab_size", VOCAB),
    ] {
        file.set(&format!("{arch}.{key}"), u32_value(value as u32));
    }
    file.set(&format!("{arch}.attention.layer_norm_rms_epsilon"), f32_value(1e-5));
    file.set(&format!("{arch}.rope.freq_base"), f32_value(50_000.0));
    file.set("tokenizer.ggml.bos_token_id", u32_value(1));
    file.set("tokenizer.ggml.eos_token_id", u32_value(2));
}

/// Every value of a tensor.
pub fn read_all(
    checkpoint: &dyn engine_core::checkpoint::Checkpoint,
    name: &str,
    shape: &[usize],
) -> Vec<f32> {
    let rows = checkpoint.tensor(name, shape).unwrap();
    let mut all = vec![f32::NAN; rows.num_rows() * rows.num_cols()];
    for (row_idx, row) in all.chunks_mut(rows.num_cols()).enumerate() {
        rows.read_row(row_idx, row);
    }
    all
}

/// A safetensors file of F32 tensors.
pub fn safetensors_bytes(tensors: &Tensors) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    let mut data = Vec::new();
    for (name, (shape, values)) in tensors {
        let start = data.len();
        data.extend(values.iter().flat_map(|x| x.to_le_bytes()));
        header.insert(
            name.clone(),
            serde_json::json!({ "dtype": "F32", "shape": shape, "data_offsets": [start, data.len()] }),
        );
    }
    with_header(&serde_json::Value::Object(header).to_string(), &data)
}

/// A safetensors file with any header.
pub fn with_header(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat()
}

/// A file or directory of the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}
