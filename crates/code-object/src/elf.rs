//! The ELF file: what is loaded, the symbols, the kernels.

use std::collections::BTreeMap;

use object::LittleEndian as LE;
use object::elf::{
    DT_JMPREL, DT_REL, DT_RELA, DT_RELAENT, DT_RELASZ, DT_RELR, EM_AMDGPU, FileHeader64, PF_W,
    PF_X, PT_LOAD, ProgramHeader64, Rela64, SHN_ABS, SHN_UNDEF, SHT_DYNSYM, SHT_SYMTAB, STB_LOCAL,
    STT_FUNC, STT_OBJECT, Sym64,
};
use object::read::elf::{FileHeader, ProgramHeader, SectionTable, SymbolTable};

use crate::little_endian::slice_at;
use crate::metadata::Metadata;
use crate::{Error, Kernel, KernelMetadata, Relocation, Target};

/// `e_ident` bytes of AMD's code objects.
const ELFOSABI_AMDGPU_HSA: u8 = 64;

/// Largest image, bytes: what `__device__` variables of one code object may take.
const MAX_IMAGE_BYTES: u64 = 4 << 30;

/// Largest alignment of a segment.
const MAX_ALIGNMENT: u64 = 2 << 20;

/// The type of the note that holds the metadata.
const NT_AMDGPU_METADATA: u32 = 32;

type Header = FileHeader64<LE>;
/// A symbol with its name.
pub type NamedSymbol<'a> = (&'a [u8], &'a Sym64<LE>);

/// A part of the file that is loaded.
#[derive(Clone, Debug)]
pub struct Segment {
    /// Where, relative to the load address.
    pub address: u64,
    /// What the file holds of it; zeros follow.
    pub bytes: Vec<u8>,
    /// Its size in memory.
    pub num_bytes: u64,
    /// Whether kernels may write it.
    pub is_writable: bool,
    /// Whether it is code.
    pub is_executable: bool,
}

/// What a symbol names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SymbolKind {
    /// Code.
    Function,
    /// Data: a `__device__` variable or a kernel descriptor.
    Object,
}

/// A named place that is visible from outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Symbol {
    /// Where, relative to the load address.
    pub address: u64,
    /// How large, bytes.
    pub num_bytes: u64,
    /// What it is.
    pub kind: SymbolKind,
}

/// A code object for gfx942. All addresses are relative to where it is loaded.
#[derive(Clone, Debug)]
pub struct CodeObject {
    /// What it is compiled for.
    pub target: Target,
    /// The ELF ABI version: the code-object version less two.
    pub abi_version: u8,
    /// What is loaded, in order of addresses, without overlaps.
    pub segments: Vec<Segment>,
    /// What is patched after loading; all within segments.
    pub relocations: Vec<Relocation>,
    /// Symbols that are visible from outside.
    pub symbols: BTreeMap<String, Symbol>,
    /// The kernels, by name.
    pub kernels: Vec<Kernel>,
    /// Whether a kernel prints by formats that the launcher would have to know.
    pub has_printf: bool,
    /// What the load address must be a multiple of.
    pub alignment: u64,
}

impl CodeObject {
    /// Reads an ELF file; see [`extract`](crate::extract) for bundles.
    pub fn parse(file: &[u8]) -> Result<Self, Error> {
        let header = Header::parse(file).map_err(elf_error)?;
        let target = check_header(header)?;
        let symbol_tables = symbol_tables(header, file)?;
        let (segments, alignment) = segments(header, file)?;
        let metadata = metadata(header, file)?;
        let mut object = Self {
            target,
            abi_version: header.e_ident.abi_version,
            segments,
            relocations: Vec::new(),
            symbols: BTreeMap::new(),
            kernels: Vec::new(),
            has_printf: metadata.as_ref().is_some_and(|metadata| metadata.has_printf),
            alignment,
        };
        object.symbols = symbols(&symbol_tables, object.image_bytes())?;
        object.relocations = object.read_relocations(header, file, &symbol_tables[0])?;
        object.kernels = object.read_kernels(metadata)?;
        Ok(object)
    }

    /// Bytes that the loaded code object takes.
    pub fn image_bytes(&self) -> u64 {
        self.segments.last().map_or(0, |segment| segment.address + segment.num_bytes)
    }

    /// The code object as it lies in memory at `load_address`, a multiple of [`alignment`](Self::alignment).
    pub fn image(&self, load_address: u64) -> Vec<u8> {
        let mut image = vec![0; self.image_bytes() as usize];
        for segment in &self.segments {
            let start = segment.address as usize;
            image[start..start + segment.bytes.len()].copy_from_slice(&segment.bytes);
        }
        for relocation in &self.relocations {
            let start = relocation.offset as usize;
            let place = &mut image[start..start + Relocation::NUM_BYTES];
            place.copy_from_slice(&relocation.bytes(load_address));
        }
        image
    }

    /// The kernel `name`, as a launcher asks for it.
    pub fn kernel(&self, name: &str) -> Option<&Kernel> {
        self.kernels.iter().find(|kernel| kernel.name == name)
    }

    /// The `__device__` or `__constant__` variable `name`.
    pub fn variable(&self, name: &str) -> Option<Symbol> {
        let symbol = *self.symbols.get(name)?;
        (symbol.kind == SymbolKind::Object && !name.ends_with(DESCRIPTOR_SUFFIX)).then_some(symbol)
    }

    /// `num_bytes` bytes at `address`, as the file holds them.
    pub fn bytes(&self, address: u64, num_bytes: u64) -> Option<&[u8]> {
        let segment = self.segment(address)?;
        slice_at(&segment.bytes, address - segment.address, num_bytes)
    }

    /// Whether `num_bytes` bytes of code lie at `address`.
    pub(crate) fn is_code(&self, address: u64, num_bytes: u64) -> bool {
        self.segment(address).is_some_and(|segment| segment.is_executable)
            && self.bytes(address, num_bytes).is_some()
    }

    fn segment(&self, address: u64) -> Option<&Segment> {
        let contains = |s: &&Segment| (s.address..s.address + s.num_bytes).contains(&address);
        self.segments.iter().find(contains)
    }

    fn read_relocations(
        &self,
        header: &Header,
        file: &[u8],
        dynamic_symbols: &[NamedSymbol<'_>],
    ) -> Result<Vec<Relocation>, Error> {
        let mut relocations = Vec::new();
        for record in self.relocation_records(header, file)? {
            let Some(relocation) = Relocation::read(record, dynamic_symbols)? else {
                continue;
            };
            let offset = relocation.offset;
            let end = self.segment(offset).map(|segment| segment.address + segment.num_bytes);
            if end.is_none_or(|end| end - offset < Relocation::NUM_BYTES as u64) {
                let reason = "lies outside of what is loaded".to_owned();
                return Err(Error::Relocation { offset, reason });
            }
            relocations.push(relocation);
        }
        Ok(relocations)
    }

    /// The table that the dynamic section names.
    fn relocation_records<'a>(
        &'a self,
        header: &Header,
        file: &[u8],
    ) -> Result<&'a [Rela64<LE>], Error> {
        let (mut address, mut num_bytes) = (0, 0);
        for program_header in header.program_headers(LE, file).map_err(elf_error)? {
            for entry in program_header.dynamic(LE, file).map_err(elf_error)?.unwrap_or_default() {
                let value = entry.d_val.get(LE);
                match entry.d_tag.get(LE) {
                    DT_RELA => address = value,
                    DT_RELASZ => num_bytes = value,
                    DT_RELAENT if value != 24 => {
                        return Err(Error::Elf(format!("relocation records of {value} bytes")));
                    }
                    DT_REL | DT_JMPREL | DT_RELR => {
                        let reason = "only DT_RELA tables are known".to_owned();
                        return Err(Error::Relocation { offset: value, reason });
                    }
                    _ => {}
                }
            }
        }
        if num_bytes == 0 {
            return Ok(&[]);
        }
        let bytes = self
            .bytes(address, num_bytes)
            .ok_or_else(|| Error::Elf("the relocation table is not loaded".to_owned()))?;
        object::pod::slice_from_all_bytes(bytes)
            .map_err(|()| Error::Elf("a relocation record is cut short".to_owned()))
    }

    fn read_kernels(&self, metadata: Option<Metadata>) -> Result<Vec<Kernel>, Error> {
        let kernels = metadata.map_or_else(Vec::new, |metadata| metadata.kernels);
        let mut by_symbol: BTreeMap<String, KernelMetadata> =
            kernels.into_iter().map(|kernel| (kernel.symbol.clone(), kernel)).collect();
        let mut kernels = Vec::new();
        for (name, symbol) in &self.symbols {
            let Some(stem) = name.strip_suffix(DESCRIPTOR_SUFFIX) else {
                continue;
            };
            let metadata = by_symbol.remove(name);
            let is_descriptor = symbol.kind == SymbolKind::Object && symbol.num_bytes == 64;
            if is_descriptor || metadata.is_some() {
                let name = metadata.as_ref().map_or(stem, |metadata| &metadata.name).to_owned();
                kernels.push(Kernel::read(self, &name, symbol.address, metadata)?);
            }
        }
        match by_symbol.into_keys().next() {
            None => Ok(kernels),
            Some(symbol) => Err(Error::Metadata(format!("a kernel's symbol {symbol} is missing"))),
        }
    }
}

/// Kernel descriptors are named after their kernels.
const DESCRIPTOR_SUFFIX: &str = ".kd";

fn elf_error(error: object::read::Error) -> Error {
    Error::Elf(error.to_string())
}

fn check_header(header: &Header) -> Result<Target, Error> {
    let _: LE = header.endian().map_err(elf_error)?;
    let machine = header.e_machine.get(LE);
    if machine != EM_AMDGPU {
        let reason = format!("it is for machine {:#x}, not for an AMD GPU (0xe0)", machine.0);
        return Err(Error::Elf(reason));
    }
    let os_abi = header.e_ident.os_abi;
    if os_abi.0 != ELFOSABI_AMDGPU_HSA {
        return Err(Error::Elf(format!("its OS ABI is {}, not 64 (AMDGPU_HSA)", os_abi.0)));
    }
    Target::from_flags(header.e_flags.get(LE).0, header.e_ident.abi_version)
}

fn segments(header: &Header, file: &[u8]) -> Result<(Vec<Segment>, u64), Error> {
    let mut segments = Vec::new();
    let mut alignment = 1;
    for program_header in header.program_headers(LE, file).map_err(elf_error)? {
        if program_header.p_type(LE) != PT_LOAD {
            continue;
        }
        let segment = read_segment(program_header, file)?;
        let align = program_header.p_align(LE).max(1);
        if !align.is_power_of_two() || align > MAX_ALIGNMENT {
            return Err(Error::Elf(format!("a segment is aligned to {align} bytes")));
        }
        alignment = alignment.max(align);
        segments.push(segment);
    }
    segments.retain(|segment: &Segment| segment.num_bytes > 0);
    segments.sort_by_key(|segment| segment.address);
    for pair in segments.windows(2) {
        if pair[0].address + pair[0].num_bytes > pair[1].address {
            return Err(Error::Elf(format!("two segments overlap at {:#x}", pair[1].address)));
        }
    }
    Ok((segments, alignment))
}

fn read_segment(program_header: &ProgramHeader64<LE>, file: &[u8]) -> Result<Segment, Error> {
    let bytes = program_header
        .data(LE, file)
        .map_err(|()| Error::Elf("a segment lies outside of the file".to_owned()))?;
    let address = program_header.p_vaddr(LE);
    let num_bytes = program_header.p_memsz(LE);
    if (bytes.len() as u64) > num_bytes {
        return Err(Error::Elf("a segment is larger in the file than in memory".to_owned()));
    }
    match address.checked_add(num_bytes) {
        Some(end) if end <= MAX_IMAGE_BYTES => {}
        end => {
            return Err(Error::TooLarge {
                what: "the loaded code object",
                num_bytes: end.unwrap_or(u64::MAX),
                limit: MAX_IMAGE_BYTES,
            });
        }
    }
    let flags = program_header.p_flags(LE);
    Ok(Segment {
        address,
        bytes: bytes.to_vec(),
        num_bytes,
        is_writable: flags.contains(PF_W),
        is_executable: flags.contains(PF_X),
    })
}

/// The dynamic symbols, then all symbols: each with its name.
fn symbol_tables<'a>(header: &Header, file: &'a [u8]) -> Result<[Vec<NamedSymbol<'a>>; 2], Error> {
    let sections: SectionTable<'a, Header> = header.sections(LE, file).map_err(elf_error)?;
    let read = |kind| {
        let table: SymbolTable<'a, Header> = sections.symbols(LE, file, kind).map_err(elf_error)?;
        let named = |symbol: &'a Sym64<LE>| {
            table.symbol_name(LE, symbol).map(|name| (name, symbol)).map_err(elf_error)
        };
        table.iter().map(named).collect::<Result<Vec<_>, _>>()
    };
    Ok([read(SHT_DYNSYM)?, read(SHT_SYMTAB)?])
}

/// Symbols that are visible from outside and lie in what is loaded.
fn symbols(
    tables: &[Vec<NamedSymbol<'_>>],
    image_bytes: u64,
) -> Result<BTreeMap<String, Symbol>, Error> {
    let mut symbols = BTreeMap::new();
    for (name, symbol) in tables.iter().flatten() {
        let kind = match symbol.st_type() {
            STT_FUNC => SymbolKind::Function,
            STT_OBJECT => SymbolKind::Object,
            _ => continue,
        };
        let section = symbol.st_shndx.get(LE);
        if symbol.st_bind() == STB_LOCAL || section == SHN_UNDEF || section == SHN_ABS {
            continue;
        }
        let name = str::from_utf8(name)
            .map_err(|_| Error::Elf("a symbol's name is not UTF-8".to_owned()))?;
        let (address, num_bytes) = (symbol.st_value.get(LE), symbol.st_size.get(LE));
        if address.checked_add(num_bytes).is_none_or(|end| end > image_bytes) {
            return Err(Error::Elf(format!("the symbol {name} lies outside of what is loaded")));
        }
        symbols.entry(name.to_owned()).or_insert(Symbol { address, num_bytes, kind });
    }
    Ok(symbols)
}

fn metadata(header: &Header, file: &[u8]) -> Result<Option<Metadata>, Error> {
    for program_header in header.program_headers(LE, file).map_err(elf_error)? {
        let Some(mut notes) = program_header.notes(LE, file).map_err(elf_error)? else {
            continue;
        };
        while let Some(note) = notes.next().map_err(elf_error)? {
            if note.name() == b"AMDGPU" && note.n_type(LE).0 == NT_AMDGPU_METADATA {
                return Metadata::parse(note.desc()).map(Some);
            }
        }
    }
    Ok(None)
}
