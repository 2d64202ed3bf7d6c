//! Offload bundles and fat binaries: code objects wrapped together, compressed, or put into a host program
//! (LLVM, *Clang Offload Bundler*).

use std::borrow::Cow;
use std::io::Read;

use object::LittleEndian as LE;
use object::elf::{EM_AMDGPU, FileHeader64};
use object::read::elf::{FileHeader, SectionHeader};

use crate::little_endian::{slice_at, u16_at, u32_at, u64_at};
use crate::{Error, Target};

const ELF_MAGIC: &[u8] = b"\x7fELF";
const BUNDLE_MAGIC: &[u8] = b"__CLANG_OFFLOAD_BUNDLE__";
const COMPRESSED_MAGIC: &[u8] = b"CCOB";

/// The section of a host program that holds its bundles.
const FAT_BINARY_SECTION: &[u8] = b".hip_fatbin";

/// Most entries of a bundle: one for each processor and its settings.
const MAX_ENTRIES: u64 = 1024;

/// Longest identifier of an entry, bytes.
const MAX_ID_BYTES: u64 = 1024;

/// Largest bundle that is decompressed, bytes.
const MAX_BUNDLE_BYTES: u64 = 512 << 20;

/// Furthest that zstd may look back: what clang's long-distance matching asks for, and a little more.
const MAX_ZSTD_WINDOW_BYTES: u64 = (128 << 20) + 1;

/// A code object in a bundle.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FatBinaryEntry<'a> {
    /// What it is for, such as `hipv4-amdgcn-amd-amdhsa--gfx942:xnack-`.
    pub id: &'a str,
    /// The code object.
    pub bytes: &'a [u8],
}

impl FatBinaryEntry<'_> {
    /// What it is for, where that is gfx942.
    fn target(&self) -> Option<Target> {
        let (kind, target) = self.id.split_once("-amdgcn-amd-amdhsa-")?;
        // A dash comes before the processor, and where the environment is left out, one more.
        ["hip", "hipv4"].contains(&kind).then(|| Target::parse(target.trim_start_matches('-')))?
    }
}

/// The code objects in `bytes` that are the best for `device`: one, except that a host program has one for each
/// source file. A code object comes back as it is.
pub fn extract(bytes: &[u8], device: Target) -> Result<Vec<Cow<'_, [u8]>>, Error> {
    if bytes.starts_with(COMPRESSED_MAGIC) {
        let bundle = decompress(bytes)?;
        let entry = choose(&entries(&bundle)?, device)?.to_vec();
        Ok(vec![Cow::Owned(entry)])
    } else if bytes.starts_with(BUNDLE_MAGIC) {
        Ok(vec![Cow::Borrowed(choose(&entries(bytes)?, device)?)])
    } else if bytes.starts_with(ELF_MAGIC) {
        match fat_binary(bytes)? {
            None => Ok(vec![Cow::Borrowed(bytes)]),
            Some(section) => extract_section(section, device),
        }
    } else {
        Err(Error::UnknownContainer(bytes[..bytes.len().min(8)].to_vec()))
    }
}

/// The entry that insists on most of what `device` is.
fn choose<'a>(entries: &[FatBinaryEntry<'a>], device: Target) -> Result<&'a [u8], Error> {
    let fitting = entries.iter().filter_map(|entry| {
        let target = entry.target().filter(|target| target.runs_on(device))?;
        Some((target.num_settings(), entry.bytes))
    });
    fitting.max_by_key(|(num_settings, _)| *num_settings).map(|(_, bytes)| bytes).ok_or_else(|| {
        let found = entries.iter().map(|entry| entry.id.to_owned()).collect();
        Error::NoEntry { wanted: device.to_string(), found }
    })
}

/// The entries of a bundle that is not compressed.
pub fn entries(bundle: &[u8]) -> Result<Vec<FatBinaryEntry<'_>>, Error> {
    let mut at = BUNDLE_MAGIC.len() as u64 + 8;
    let num_entries = check_num_entries(bundle)?;
    let mut entries = Vec::new();
    for _ in 0..num_entries {
        let header = slice_at(bundle, at, 24).ok_or_else(cut_short)?;
        let (offset, num_bytes, id_bytes) = entry_header(header)?;
        let id = slice_at(bundle, at + 24, id_bytes).ok_or_else(cut_short)?;
        let id = str::from_utf8(id)
            .map_err(|_| Error::Bundle("an entry's identifier is not UTF-8".to_owned()))?;
        let bytes = slice_at(bundle, offset, num_bytes).ok_or_else(cut_short)?;
        entries.push(FatBinaryEntry { id, bytes });
        at += 24 + id_bytes;
    }
    Ok(entries)
}

fn check_num_entries(bundle: &[u8]) -> Result<u64, Error> {
    let num_entries = u64_at(bundle, BUNDLE_MAGIC.len()).ok_or_else(cut_short)?;
    if num_entries > MAX_ENTRIES {
        return Err(Error::Bundle(format!("{num_entries} entries; {MAX_ENTRIES} are allowed")));
    }
    Ok(num_entries)
}

/// An entry's offset, size, and length of its identifier.
fn entry_header(header: &[u8]) -> Result<(u64, u64, u64), Error> {
    let read = |at| u64_at(header, at).ok_or_else(cut_short);
    let (offset, num_bytes, id_bytes) = (read(0)?, read(8)?, read(16)?);
    if id_bytes > MAX_ID_BYTES {
        return Err(Error::Bundle(format!("an identifier of {id_bytes} bytes")));
    }
    Ok((offset, num_bytes, id_bytes))
}

fn cut_short() -> Error {
    Error::Bundle("it is cut short".to_owned())
}

/// A compressed bundle's header.
struct Compressed {
    method: u16,
    header_bytes: u64,
    /// With the header. Version 1 does not say.
    total_bytes: Option<u64>,
    bundle_bytes: u64,
}

impl Compressed {
    fn read(bytes: &[u8]) -> Result<Self, Error> {
        Self::read_fields(bytes).ok_or_else(cut_short)?
    }

    /// The hash that ends each header is not checked: nor does anyone else, and the code object has checks of its own.
    fn read_fields(bytes: &[u8]) -> Option<Result<Self, Error>> {
        let (version, method) = (u16_at(bytes, 4)?, u16_at(bytes, 6)?);
        let (header_bytes, total_bytes, bundle_bytes) = match version {
            1 => (20, None, u32_at(bytes, 8)?.into()),
            2 => (24, Some(u32_at(bytes, 8)?.into()), u32_at(bytes, 12)?.into()),
            3 => (32, Some(u64_at(bytes, 8)?), u64_at(bytes, 16)?),
            _ => {
                let reason = format!("compressed bundles of version {version} are not known");
                return Some(Err(Error::Bundle(reason)));
            }
        };
        Some(Ok(Self { method, header_bytes, total_bytes, bundle_bytes }))
    }
}

fn decompress(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let header = Compressed::read(bytes)?;
    let end = header.total_bytes.unwrap_or(bytes.len() as u64);
    let compressed_bytes = end.checked_sub(header.header_bytes).ok_or_else(cut_short)?;
    let compressed =
        slice_at(bytes, header.header_bytes, compressed_bytes).ok_or_else(cut_short)?;
    let limit = header.bundle_bytes;
    if limit > MAX_BUNDLE_BYTES {
        let what = "the decompressed bundle";
        return Err(Error::TooLarge { what, num_bytes: limit, limit: MAX_BUNDLE_BYTES });
    }
    let mut bundle = Vec::new();
    // One byte more than promised shows that the promise is wrong.
    let result = match header.method {
        0 => flate2::read::ZlibDecoder::new(compressed).take(limit + 1).read_to_end(&mut bundle),
        1 => zstd_decoder(compressed)?.take(limit + 1).read_to_end(&mut bundle),
        method => return Err(Error::Bundle(format!("compression method {method} is not known"))),
    };
    result.map_err(|error| Error::Bundle(format!("cannot decompress: {error}")))?;
    if bundle.len() as u64 != limit {
        return Err(Error::Bundle(format!("it does not decompress to {limit} bytes")));
    }
    Ok(bundle)
}

fn zstd_decoder(compressed: &[u8]) -> Result<impl Read, Error> {
    ruzstd::decoding::StreamingDecoder::new_with_max_window_size(compressed, MAX_ZSTD_WINDOW_BYTES)
        .map_err(|error| Error::Bundle(format!("cannot decompress: {error}")))
}

/// The section of bundles, where `bytes` is a host program.
fn fat_binary(bytes: &[u8]) -> Result<Option<&[u8]>, Error> {
    let elf_error = |error: object::read::Error| Error::Elf(error.to_string());
    let header = FileHeader64::<LE>::parse(bytes).map_err(elf_error)?;
    if header.e_machine.get(LE) == EM_AMDGPU {
        return Ok(None);
    }
    let sections = header.sections(LE, bytes).map_err(elf_error)?;
    match sections.section_by_name(LE, FAT_BINARY_SECTION) {
        Some((_, section)) => section.data(LE, bytes).map(Some).map_err(elf_error),
        None => Err(Error::Elf("a host program without .hip_fatbin: it has no kernels".to_owned())),
    }
}

/// Bundles one after the other, padded with zeros.
fn extract_section(section: &[u8], device: Target) -> Result<Vec<Cow<'_, [u8]>>, Error> {
    let mut objects = Vec::new();
    let mut rest = section;
    while let Some(start) = rest.iter().position(|byte| *byte != 0) {
        rest = &rest[start..];
        let num_bytes =
            container_bytes(|at, num_bytes| slice_at(rest, at, num_bytes).map(<[u8]>::to_vec))?;
        let bundle = slice_at(rest, 0, num_bytes).ok_or_else(cut_short)?;
        objects.extend(extract(bundle, device)?);
        rest = &rest[bundle.len()..];
    }
    Ok(objects)
}

/// The size of the code object or bundle that `read(at, num_bytes)` reads from: for those who get an address without
/// a length, as `hipModuleLoadData` does.
pub fn container_bytes(read: impl Fn(u64, u64) -> Option<Vec<u8>>) -> Result<u64, Error> {
    let read = |at, num_bytes| read(at, num_bytes).ok_or_else(cut_short);
    let magic = read(0, 4)?;
    if magic == ELF_MAGIC {
        let header = read(0, 64)?;
        let field = |at| u64_at(&header, at).unwrap_or(0);
        let count = |at| u64::from(u16_at(&header, at).unwrap_or(0));
        let end = field(40).checked_add(count(58) * count(60));
        return end.ok_or_else(|| Error::Elf("its section table has no end".to_owned()));
    }
    if magic == COMPRESSED_MAGIC {
        let header = read(0, 20).and_then(|header| {
            Compressed::read(&header).or_else(|_| Compressed::read(&read(0, 32)?))
        })?;
        return header.total_bytes.filter(|total| *total >= header.header_bytes).ok_or_else(|| {
            Error::Bundle("compressed bundles of version 1 do not say how long they are".to_owned())
        });
    }
    if read(0, BUNDLE_MAGIC.len() as u64).is_ok_and(|magic| magic == BUNDLE_MAGIC) {
        return bundle_bytes(read);
    }
    Err(Error::UnknownContainer(magic))
}

fn bundle_bytes(read: impl Fn(u64, u64) -> Result<Vec<u8>, Error>) -> Result<u64, Error> {
    let mut at = BUNDLE_MAGIC.len() as u64 + 8;
    let num_entries = check_num_entries(&read(0, at)?)?;
    let mut end = at;
    for _ in 0..num_entries {
        let (offset, num_bytes, id_bytes) = entry_header(&read(at, 24)?)?;
        at += 24 + id_bytes;
        let entry_end = offset.checked_add(num_bytes).ok_or_else(cut_short)?;
        end = end.max(entry_end).max(at);
    }
    Ok(end)
}
