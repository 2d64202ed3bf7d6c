//! What is read out of hipcc's output is what llvm-readelf and llvm-objdump say of it.

use std::collections::BTreeMap;

use code_object::{
    CodeObject, Error, Hidden, Kernel, KernelDescriptor, KernelMetadata, Setting, Target, UserSgpr,
    ValueKind,
};
use hip_toolchain::Toolchain;

use crate::llvm::{self, Notes, SOURCE};

/// Checks one code object against LLVM's view of it.
fn check(toolchain: &Toolchain, bytes: &[u8]) -> CodeObject {
    let object = CodeObject::parse(bytes).unwrap();
    let notes = llvm::notes(toolchain, bytes);
    let ours: BTreeMap<&str, &KernelMetadata> = object
        .kernels
        .iter()
        .map(|kernel| (kernel.name.as_str(), kernel.metadata.as_ref().unwrap()))
        .collect();
    assert_eq!(ours.len(), notes.len());
    assert!(!notes.is_empty());
    for kernel in &notes {
        check_metadata(ours[kernel.fields[".name"].as_str()], kernel);
    }
    let directives = llvm::directives(toolchain, bytes);
    assert_eq!(directives.len(), notes.len());
    for kernel in &object.kernels {
        let stem = kernel.metadata.as_ref().unwrap().symbol.strip_suffix(".kd").unwrap();
        check_descriptor(&kernel.descriptor, &directives[stem]);
    }
    check_symbols(toolchain, &object, bytes);
    object
}

fn check_metadata(ours: &KernelMetadata, notes: &Notes) {
    let fields = |key: &str| notes.fields.get(key).map(String::as_str);
    let numbers = [
        (".kernarg_segment_size", ours.kernarg_segment_size),
        (".kernarg_segment_align", ours.kernarg_segment_align),
        (".group_segment_fixed_size", ours.group_segment_fixed_size),
        (".private_segment_fixed_size", ours.private_segment_fixed_size),
        (".wavefront_size", ours.wavefront_size),
        (".sgpr_count", ours.sgpr_count),
        (".vgpr_count", ours.vgpr_count),
        (".agpr_count", ours.agpr_count),
        (".sgpr_spill_count", ours.sgpr_spill_count),
        (".vgpr_spill_count", ours.vgpr_spill_count),
        (".max_flat_workgroup_size", ours.max_flat_workgroup_size),
        (".uniform_work_group_size", ours.uniform_work_group_size.into()),
    ];
    for (key, number) in numbers {
        assert_eq!(fields(key).unwrap_or("0"), number.to_string(), "{}: {key}", ours.name);
    }
    assert_eq!(fields(".symbol").unwrap(), ours.symbol);
    let uses_dynamic_stack = fields(".uses_dynamic_stack").unwrap_or("false");
    assert_eq!(uses_dynamic_stack, ours.uses_dynamic_stack.to_string());
    assert_eq!(ours.args.len(), notes.args.len());
    for (arg, notes) in ours.args.iter().zip(&notes.args) {
        assert_eq!(notes[".offset"], arg.offset.to_string());
        assert_eq!(notes[".size"], arg.size.to_string());
        assert_eq!(notes[".value_kind"], name_of(&arg.value_kind));
        assert_eq!(notes.get(".address_space"), arg.address_space.as_ref());
    }
}

/// The note's word, made anew: `BlockCount(0)` is `hidden_block_count_x`.
fn name_of(kind: &ValueKind) -> String {
    let ValueKind::Hidden(hidden) = kind else {
        return kind.to_string();
    };
    let mut name = "hidden".to_owned();
    for c in format!("{hidden:?}").chars() {
        match c {
            '(' | ')' => {}
            '0'..='2' if *hidden != Hidden::HeapV1 => {
                name.push_str(["_x", "_y", "_z"][c as usize - '0' as usize]);
            }
            c if c.is_uppercase() => name.extend(['_', c.to_ascii_lowercase()]),
            c => name.push(c),
        }
    }
    name
}

fn check_descriptor(ours: &KernelDescriptor, directives: &BTreeMap<String, i64>) {
    let enabled = |sgpr: UserSgpr| ours.user_sgprs().iter().any(|(found, ..)| *found == sgpr);
    let numbers = [
        ("group_segment_fixed_size", ours.group_segment_fixed_size),
        ("private_segment_fixed_size", ours.private_segment_fixed_size),
        ("kernarg_size", ours.kernarg_size),
        ("accum_offset", ours.accum_offset),
        ("tg_split", ours.tg_split.into()),
        ("next_free_vgpr", ours.num_vgprs),
        ("float_round_mode_32", ours.float_round_mode_32),
        ("float_round_mode_16_64", ours.float_round_mode_16_64),
        ("float_denorm_mode_32", ours.float_denorm_mode_32),
        ("float_denorm_mode_16_64", ours.float_denorm_mode_16_64),
        ("dx10_clamp", ours.enable_dx10_clamp.into()),
        ("ieee_mode", ours.enable_ieee_mode.into()),
        ("fp16_overflow", ours.fp16_ovfl.into()),
        ("enable_private_segment", ours.enable_private_segment.into()),
        ("system_sgpr_workgroup_id_x", ours.enable_sgpr_workgroup_id[0].into()),
        ("system_sgpr_workgroup_id_y", ours.enable_sgpr_workgroup_id[1].into()),
        ("system_sgpr_workgroup_id_z", ours.enable_sgpr_workgroup_id[2].into()),
        ("system_sgpr_workgroup_info", ours.enable_sgpr_workgroup_info.into()),
        ("system_vgpr_workitem_id", ours.enable_vgpr_workitem_id),
        ("user_sgpr_dispatch_ptr", enabled(UserSgpr::DispatchPtr).into()),
        ("user_sgpr_queue_ptr", enabled(UserSgpr::QueuePtr).into()),
        ("user_sgpr_kernarg_segment_ptr", enabled(UserSgpr::KernargSegmentPtr).into()),
        ("user_sgpr_dispatch_id", enabled(UserSgpr::DispatchId).into()),
        ("user_sgpr_private_segment_size", enabled(UserSgpr::PrivateSegmentSize).into()),
        ("user_sgpr_kernarg_preload_length", ours.kernarg_preload_length),
        ("user_sgpr_kernarg_preload_offset", ours.kernarg_preload_offset),
    ];
    for (key, number) in numbers {
        // llvm-objdump leaves preloading out where there is none.
        assert_eq!(directives.get(key).copied().unwrap_or(0), number.into(), "{key}");
    }
    // Not printed below code object V5.
    if let Some(uses_dynamic_stack) = directives.get("uses_dynamic_stack") {
        assert_eq!(*uses_dynamic_stack, ours.uses_dynamic_stack.into());
    }
    // The assembler gives out 16 at a time.
    let free = directives["next_free_sgpr"] as u32;
    assert_eq!(ours.num_sgprs, free.next_multiple_of(16));
    let exceptions = [
        "fp_ieee_invalid_op",
        "fp_denorm_src",
        "fp_ieee_div_zero",
        "fp_ieee_overflow",
        "fp_ieee_underflow",
        "fp_ieee_inexact",
        "int_div_zero",
    ];
    for (at, name) in exceptions.iter().enumerate() {
        let key = format!("exception_{name}");
        assert_eq!(directives[&key], i64::from(ours.exceptions >> at & 1), "{key}");
    }
}

/// Every function and object that `llvm-readelf` lists as visible is ours, and no other.
fn check_symbols(toolchain: &Toolchain, object: &CodeObject, bytes: &[u8]) {
    let table = llvm::inspect(toolchain, "llvm-readelf", &["--dyn-syms", "-W"], bytes);
    let listed: BTreeMap<&str, (u64, u64)> = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|row| row.len() == 8 && ["FUNC", "OBJECT"].contains(&row[3]) && row[6] != "UND")
        .map(|row| (row[7], (u64::from_str_radix(row[1], 16).unwrap(), row[2].parse().unwrap())))
        .collect();
    let ours: BTreeMap<&str, (u64, u64)> = object
        .symbols
        .iter()
        .map(|(name, symbol)| (name.as_str(), (symbol.address, symbol.num_bytes)))
        .collect();
    assert_eq!(ours, listed);
    for kernel in &object.kernels {
        let function = kernel.metadata.as_ref().unwrap().symbol.strip_suffix(".kd").unwrap();
        let prologue = if kernel.descriptor.kernarg_preload_length == 0 { 0 } else { 256 };
        assert_eq!(kernel.entry(), listed[function].0 + prologue);
    }
}

#[test]
fn every_code_object_version_and_optimisation_level_reads_as_llvm_reads_it() {
    let Some(toolchain) = hip_toolchain::for_tests() else { return };
    for (version, abi_version) in [("4", 2), ("5", 3), ("6", 4)] {
        for level in ["-O0", "-O3"] {
            let version = format!("-mcode-object-version={version}");
            let bytes = llvm::compile(&toolchain, SOURCE, &[level, &version]);
            let object = check(&toolchain, &bytes);
            assert_eq!(object.abi_version, abi_version);
            assert_eq!(object.target, Target::parse("gfx942").unwrap());
            for kernel in &object.kernels {
                assert_eq!(kernel.kernarg_segment_bytes(), kernel.descriptor.kernarg_size);
            }
            let names: Vec<&str> = object.kernels.iter().map(|k| k.name.as_str()).collect();
            assert_eq!(names, ["_Z10overloadedPy", "mixed", "vector_add"]);
            assert!(object.variable("counter").is_some_and(|counter| counter.num_bytes == 4));
            assert_eq!(object.variable("mixed.kd"), None);
            assert_eq!(object.variable("mixed"), None);
        }
    }
}

#[test]
fn unusual_settings_are_read() {
    let Some(toolchain) = hip_toolchain::for_tests() else { return };
    let read =
        |source: &str, flags: &[&str]| check(&toolchain, &llvm::compile(&toolchain, source, flags));
    let modes =
        read(SOURCE, &["-O1", "-fgpu-flush-denormals-to-zero", "-mtgsplit", "-fno-gpu-sanitize"]);
    let descriptor = &modes.kernel("vector_add").unwrap().descriptor;
    assert_eq!((descriptor.float_denorm_mode_32, descriptor.tg_split), (0, true));
    assert_eq!(descriptor.mode() & 0xff, 0xc0);

    let preload = read(SOURCE, &["-O3", "-mllvm", "-amdgpu-kernarg-preload-count=3"]);
    let descriptor = &preload.kernel("vector_add").unwrap().descriptor;
    // Three pointers.
    assert_eq!(descriptor.kernarg_preload_length, 6);
    let place = descriptor.user_sgprs().pop().unwrap();
    assert_eq!((place.0, place.2), (UserSgpr::KernargPreload, 6));

    let scratch = r#"
        #include <hip/hip_runtime.h>
        __device__ __attribute__((noinline)) int deep(int n, int* x) { return n ? deep(n - 1, x) + x[n] : 0; }
        extern "C" __global__ void __launch_bounds__(256) recursive(int* x) { x[threadIdx.z] = deep(x[9], x); }
    "#;
    let scratch = read(scratch, &["-O1"]);
    let kernel = scratch.kernel("recursive").unwrap();
    assert!(kernel.descriptor.enable_private_segment && kernel.descriptor.uses_dynamic_stack);
    assert_eq!(kernel.descriptor.enable_vgpr_workitem_id, 2);
    assert_eq!(kernel.metadata.as_ref().unwrap().max_flat_workgroup_size, 256);
}

#[test]
fn targets_and_their_settings_are_read() {
    let Some(toolchain) = hip_toolchain::for_tests() else { return };
    let source = "extern \"C\" __attribute__((global)) void k(int* x) { *x = 1; }";
    let compile = |arch: &str| {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("k.hip"), dir.path().join("k.hsaco"));
        std::fs::write(&from, source).unwrap();
        toolchain.compile(&from, arch, &["-O1"], &to).unwrap();
        CodeObject::parse(&std::fs::read(to).unwrap())
    };
    let target = compile("gfx942:sramecc+:xnack-").unwrap().target;
    assert_eq!(target, Target { sramecc: Setting::On, xnack: Setting::Off });
    let target = compile("gfx942:xnack+").unwrap().target;
    assert_eq!(target, Target { sramecc: Setting::Any, xnack: Setting::On });
    let error = compile("gfx90a").unwrap_err();
    assert_eq!(error, Error::Target { found: "gfx90a".to_owned() });
    assert!(error.to_string().contains("--offload-arch=gfx942"));
}

#[test]
fn segments_and_relocations_make_the_image_that_a_loader_makes() {
    let Some(toolchain) = hip_toolchain::for_tests() else { return };
    let bytes = llvm::compile(&toolchain, SOURCE, &["-O3"]);
    let object = CodeObject::parse(&bytes).unwrap();
    let load_address = 0x7f12_3456_0000;
    let image = object.image(load_address);
    let address = |name: &str| object.variable(name).unwrap().address;
    let read = |at: u64| {
        let at = at as usize;
        u64::from_le_bytes(image[at..at + 8].try_into().unwrap())
    };
    assert_eq!(read(address("table")), load_address + address("counter"));
    assert_eq!(read(address("table") + 8), load_address + address("numbers") + 8);
    assert_eq!(read(address("numbers")), 1 | 2 << 32);
    assert_eq!(read(address("scale")) as u32, 2.0f32.to_bits());
    // `large` is not in the file.
    let large = object.variable("large").unwrap();
    assert_eq!(large.num_bytes, 16384);
    assert_eq!(object.bytes(large.address, 4), None);
    assert_eq!(read(large.address + large.num_bytes - 8), 0);

    // Every byte that llvm-objdump dumps of a section is at its address.
    let text = llvm::inspect(&toolchain, "llvm-objdump", &["-s", "-j", ".text"], &bytes);
    let rows = text.lines().filter_map(|line| line.strip_prefix(' '));
    let mut num_bytes = 0;
    for row in rows {
        let mut words = row.split(' ');
        let at = usize::from_str_radix(words.next().unwrap(), 16).unwrap();
        let digits = words.take_while(|word| !word.is_empty()).collect::<String>();
        for (i, pair) in digits.as_bytes().chunks(2).enumerate() {
            let byte = u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
            assert_eq!(image[at + i], byte, "{:#x}", at + i);
            num_bytes += 1;
        }
    }
    assert!(num_bytes > 256, "{num_bytes}");
}

#[test]
fn symbols_that_a_loader_resolves_are_resolved() {
    let Some(toolchain) = hip_toolchain::for_tests() else { return };
    let object = check(&toolchain, &llvm::small(&toolchain));
    assert_eq!(object.relocations.len(), 2);
    let image = object.image(0x10_0000);
    let table = object.variable("table").unwrap().address as usize;
    let var = object.variable("var").unwrap().address;
    assert_eq!(image[table..table + 8], (0x10_0000 + var + 4).to_le_bytes());
    // Weak, and defined nowhere.
    assert_eq!(image[table + 8..table + 16], [0; 8]);
}

#[test]
fn a_symbol_that_is_defined_nowhere_is_an_error_that_names_it() {
    let Some(toolchain) = hip_toolchain::for_tests() else { return };
    let source = r#"
        extern __attribute__((device, visibility("default"))) int elsewhere;
        extern "C" __attribute__((global)) void k(int* x) { *x = elsewhere; }
    "#;
    let flags = ["-O1", "-fgpu-rdc", "-Xoffload-linker", "--unresolved-symbols=ignore-all"];
    let bytes = llvm::compile(&toolchain, source, &flags);
    let error = CodeObject::parse(&bytes).unwrap_err().to_string();
    assert!(error.contains("elsewhere is not defined"), "{error}");
}

#[test]
fn code_without_metadata_can_be_used() {
    let Some(toolchain) = hip_toolchain::for_tests() else { return };
    let source = include_str!("small.s");
    let (code, _) = source.split_once(".amdgpu_metadata").unwrap();
    let bytes = llvm::assemble(&toolchain, code);
    let object = CodeObject::parse(&bytes).unwrap();
    let kernel: &Kernel = object.kernel("k").unwrap();
    assert_eq!(kernel.metadata, None);
    assert_eq!(object.bytes(kernel.entry(), 4).unwrap(), 0xbf81_0000_u32.to_le_bytes());
}
