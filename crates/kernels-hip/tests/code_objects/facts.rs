//! What can be read off a kernel without running it.

use std::collections::BTreeMap;

use code_object::{CodeObject, Kernel, Resources, WorkGroupShape};
use gfx942_emulator::isa::decode;
use serde::Serialize;

/// Lanes of a wave.
const WAVE_SIZE: u32 = 64;

/// What the compiler made of a kernel.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Facts {
    pub vgprs: u32,
    pub agprs: u32,
    pub sgprs: u32,
    pub vgpr_spills: u32,
    pub sgpr_spills: u32,
    pub scratch_bytes: u32,
    pub lds_bytes: u32,
    /// With the largest work-group that the kernel is compiled for, and no LDS beside its own.
    pub waves_per_simd: u32,
    /// Instructions in the code, each once.
    pub instructions: u32,
    pub vector: u32,
    pub matrix: u32,
    /// Loads from device memory of 16 bytes a lane.
    pub wide_loads: u32,
    /// Other loads from device memory.
    pub narrow_loads: u32,
    pub lds: u32,
    pub barriers: u32,
}

/// Of every kernel of a code object, by name.
pub fn of(file: &[u8]) -> BTreeMap<String, Facts> {
    let object = CodeObject::parse(file).unwrap();
    let facts = |kernel: &Kernel| (kernel.name.clone(), kernel_facts(&object, kernel));
    object.kernels.iter().map(facts).collect()
}

fn kernel_facts(object: &CodeObject, kernel: &Kernel) -> Facts {
    let metadata = kernel.metadata.as_ref().unwrap();
    let waves_per_work_group = metadata.max_flat_workgroup_size.div_ceil(WAVE_SIZE);
    let shape = WorkGroupShape { waves_per_work_group, dynamic_lds_bytes: 0 };
    let resources = Resources::of(kernel, &shape);
    let mnemonics = mnemonics(object, kernel);
    let count = |is_one: fn(&str) -> bool| {
        mnemonics.iter().filter(|(name, _)| is_one(name)).map(|(_, count)| count).sum()
    };
    Facts {
        vgprs: resources.vgprs.unwrap(),
        agprs: resources.agprs.unwrap(),
        sgprs: resources.sgprs.unwrap(),
        vgpr_spills: resources.vgpr_spills.unwrap(),
        sgpr_spills: resources.sgpr_spills.unwrap(),
        scratch_bytes: resources.scratch_bytes,
        lds_bytes: resources.lds_bytes,
        waves_per_simd: resources.waves_per_simd,
        instructions: count(|_| true),
        vector: count(|name| name.starts_with("v_") && !is_matrix(name)),
        matrix: count(is_matrix),
        wide_loads: count(|name| is_load(name) && name.ends_with("_dwordx4")),
        narrow_loads: count(|name| is_load(name) && !name.ends_with("_dwordx4")),
        lds: count(|name| name.starts_with("ds_")),
        barriers: count(|name| name == "s_barrier"),
    }
}

fn is_matrix(name: &str) -> bool {
    name.contains("mfma") || name.contains("smfmac")
}

fn is_load(name: &str) -> bool {
    ["global_load_", "flat_load_", "buffer_load_"].iter().any(|start| name.starts_with(start))
}

fn mnemonics(object: &CodeObject, kernel: &Kernel) -> BTreeMap<&'static str, u32> {
    let (start, num_bytes) = object.extent(kernel);
    let mut code = object.bytes(start, num_bytes).unwrap();
    let mut mnemonics = BTreeMap::new();
    while !code.is_empty() {
        let inst = decode(code).unwrap();
        *mnemonics.entry(inst.op.name()).or_default() += 1;
        code = &code[usize::from(inst.size)..];
    }
    mnemonics
}
