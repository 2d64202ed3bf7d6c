//! Bundles as clang makes them, compressed and not, and inside host programs.

use std::io::Write;

use code_object::{CodeObject, Error, Setting, Target, container_bytes, entries, extract};
use hip_toolchain::Toolchain;

use crate::llvm;

const SOURCE: &str = r#"
#include <hip/hip_runtime.h>
extern "C" __global__ void NAME(int* x) { *x = threadIdx.x; }
int main() { NAME<<<1, 1>>>(nullptr); }
"#;

/// Runs the driver on [`SOURCE`], with a kernel of name `kernel`.
fn drive(toolchain: &Toolchain, kernel: &str, flags: &[&str], format_version: &str) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let (source, output) = (dir.path().join("k.hip"), dir.path().join("k.out"));
    std::fs::write(&source, SOURCE.replace("NAME", kernel)).unwrap();
    let mut driver = toolchain.driver();
    driver.env("COMPRESSED_BUNDLE_FORMAT_VERSION", format_version);
    driver.args(["-x", "hip", "-O1", "-o"]).arg(&output).args(flags).arg(&source);
    llvm::output(&mut driver);
    std::fs::read(output).unwrap()
}

/// The only code object for an MI300X.
fn extract_one(bytes: &[u8]) -> CodeObject {
    let objects = extract(bytes, Target::MI300X).unwrap();
    assert_eq!(objects.len(), 1);
    CodeObject::parse(&objects[0]).unwrap()
}

fn num_bytes(bytes: &[u8]) -> Result<u64, Error> {
    container_bytes(|at, len| bytes.get(at as usize..(at + len) as usize).map(<[u8]>::to_vec))
}

#[test]
fn the_entry_for_the_device_is_found() {
    let Some(toolchain) = hip_toolchain::for_tests() else { return };
    let flags = [
        "--cuda-device-only",
        "--offload-arch=gfx90a",
        "--offload-arch=gfx942:sramecc+:xnack-",
        "--offload-arch=gfx942:sramecc+:xnack+",
        "--gpu-bundle-output",
    ];
    let plain = drive(&toolchain, "k", &flags, "2");
    let ids: Vec<&str> = entries(&plain).unwrap().iter().map(|entry| entry.id).collect();
    assert!(ids.contains(&"hipv4-amdgcn-amd-amdhsa--gfx942:sramecc+:xnack-"), "{ids:?}");
    let object = extract_one(&plain);
    assert_eq!(object.target, Target::MI300X);
    assert!(object.kernel("k").is_some());
    // What follows is not part of it.
    assert_eq!(num_bytes(&[&plain[..], &[1; 100]].concat()).unwrap(), plain.len() as u64);

    let with_retry = Target { sramecc: Setting::On, xnack: Setting::On };
    let objects = extract(&plain, with_retry).unwrap();
    assert_eq!(CodeObject::parse(&objects[0]).unwrap().target, with_retry);
    let without = Target { sramecc: Setting::Off, xnack: Setting::On };
    let error = extract(&plain, without).unwrap_err().to_string();
    assert!(error.contains("gfx942:sramecc-:xnack+") && error.contains("gfx90a"), "{error}");
}

#[test]
fn compressed_bundles_hold_the_same() {
    let Some(toolchain) = hip_toolchain::for_tests() else { return };
    let flags = ["--cuda-device-only", "--offload-arch=gfx942", "--gpu-bundle-output"];
    let plain = drive(&toolchain, "k", &flags, "2");
    let code = extract(&plain, Target::MI300X).unwrap().remove(0).into_owned();
    let compress = [&flags[..], &["--offload-compress"]].concat();
    for version in ["2", "3"] {
        let compressed = drive(&toolchain, "k", &compress, version);
        assert_eq!(compressed[..6], [b'C', b'C', b'O', b'B', version.as_bytes()[0] - b'0', 0]);
        let unpacked = extract(&compressed, Target::MI300X).unwrap();
        assert_eq!(CodeObject::parse(&unpacked[0]).unwrap().kernels.len(), 1);
        assert_eq!(unpacked[0].len(), code.len());
        let padded = [&compressed[..], &[0; 77]].concat();
        assert_eq!(num_bytes(&padded).unwrap(), compressed.len() as u64);
        assert_eq!(extract(&padded, Target::MI300X).unwrap(), unpacked);
        let error = extract(&compressed[..compressed.len() - 1], Target::MI300X).unwrap_err();
        assert_eq!(error.to_string(), "not a readable offload bundle: it is cut short");
    }
    // Version 1, and zlib, which clang takes where it was built without zstd.
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&plain).unwrap();
    let mut version_1 = b"CCOB\x01\0\0\0".to_vec();
    version_1.extend((plain.len() as u32).to_le_bytes());
    version_1.extend([0; 8]);
    version_1.extend(encoder.finish().unwrap());
    assert_eq!(extract(&version_1, Target::MI300X).unwrap()[0], code);
    assert!(num_bytes(&version_1).is_err());
    // A wrong promise of the size is seen.
    for wrong in [plain.len() - 1, plain.len() + 1] {
        version_1[8..12].copy_from_slice(&(wrong as u32).to_le_bytes());
        let error = extract(&version_1, Target::MI300X).unwrap_err().to_string();
        assert!(error.contains("does not decompress to"), "{error}");
    }
}

#[test]
fn a_host_program_gives_the_code_of_each_of_its_sources() {
    let Some(toolchain) = hip_toolchain::for_tests() else { return };
    let dir = tempfile::tempdir().unwrap();
    let objects: Vec<_> = ["first", "second"]
        .iter()
        .map(|kernel| {
            let flags = ["-c", "--offload-arch=gfx942", "-fuse-cuid=random"];
            let path = dir.path().join(kernel);
            std::fs::write(&path, drive(&toolchain, kernel, &flags, "2")).unwrap();
            path
        })
        .collect();
    let program = dir.path().join("program");
    // `main` is defined twice, and nothing is called: only the section matters.
    let args = ["-z", "muldefs", "--unresolved-symbols=ignore-all", "-o", llvm::text(&program)];
    let paths = objects.iter().map(|path| llvm::text(path)).collect::<Vec<_>>();
    llvm::run(&toolchain, "ld.lld", &[&args[..], &paths].concat());
    let program = std::fs::read(program).unwrap();
    let found = extract(&program, Target::MI300X).unwrap();
    let kernels: Vec<String> = found
        .iter()
        .map(|bytes| CodeObject::parse(bytes).unwrap().kernels.remove(0).name)
        .collect();
    assert_eq!(kernels, ["first", "second"]);
    assert_eq!(num_bytes(&found[0]).unwrap(), found[0].len() as u64);
}

#[test]
fn what_is_no_container_is_named() {
    let error = extract(b"#include <hip>", Target::MI300X).unwrap_err();
    assert_eq!(error, Error::UnknownContainer(b"#include".to_vec()));
    assert_eq!(extract(b"", Target::MI300X), Err(Error::UnknownContainer(Vec::new())));
    let error = extract(b"CCOB\x04\0\x01\0and more bytes to come", Target::MI300X).unwrap_err();
    assert!(error.to_string().contains("version 4"), "{error}");
}
