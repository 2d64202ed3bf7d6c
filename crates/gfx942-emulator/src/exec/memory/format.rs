//! Loads and stores that convert (manual, 9.1.4 and tables 40 and 42).

use half::f16;

use super::access::{Targets, for_lanes, gather, scatter};
use super::ops::{Formatted, Part};
use super::resource::{Resource, targets};
use super::transfer::{Done, finish, registers};
use crate::WAVE_SIZE;
use crate::exec::{AccessKind, Context, Observer, Space, Trap, Wave};
use crate::isa::{Format, Inst};

/// An element of a buffer: up to four components, the first in the lowest bits.
#[derive(Clone, Copy)]
struct Element {
    /// Bits of each component.
    widths: &'static [u32],
    number: Number,
}

/// What the bits of a component mean.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Number {
    Unorm,
    Snorm,
    Uscaled,
    Sscaled,
    Uint,
    Sint,
    Float,
}

impl Element {
    /// Names list components from the highest bits down; the widths here go up.
    fn new(data_format: u32, num_format: u32) -> Option<Self> {
        let widths: &[u32] = match data_format {
            1 => &[8],
            2 => &[16],
            3 => &[8, 8],
            4 => &[32],
            5 => &[16, 16],
            6 => &[11, 11, 10],
            7 => &[10, 11, 11],
            8 => &[2, 10, 10, 10],
            9 => &[10, 10, 10, 2],
            10 => &[8, 8, 8, 8],
            11 => &[32, 32],
            12 => &[16, 16, 16, 16],
            13 => &[32, 32, 32],
            14 => &[32, 32, 32, 32],
            _ => return None,
        };
        let number = match num_format {
            0 => Number::Unorm,
            1 => Number::Snorm,
            2 => Number::Uscaled,
            3 => Number::Sscaled,
            4 => Number::Uint,
            5 => Number::Sint,
            7 => Number::Float,
            _ => return None,
        };
        let wide = widths[0] == 32;
        let convertible = match number {
            Number::Float => wide || widths[0] == 16 || widths.len() == 3,
            Number::Uint | Number::Sint => true,
            _ => !wide,
        };
        convertible.then_some(Self { widths, number })
    }

    /// That of `inst`: MTBUF has its own, MUBUF's is the resource's.
    fn of(inst: &Inst, resource: &Resource) -> Result<Self, Trap> {
        let (data, number) = match inst.format {
            Format::Mtbuf => {
                (u32::from(inst.buffer_format & 15), u32::from(inst.buffer_format >> 4 & 7))
            }
            _ => (resource.data_format, resource.num_format),
        };
        Self::new(data, number).ok_or_else(|| {
            Trap::Unimplemented(format!("{} with dfmt {data}, nfmt {number}", inst.op.name()))
        })
    }

    fn num_bytes(self) -> usize {
        self.widths.iter().sum::<u32>() as usize / 8
    }

    fn is_integer(self) -> bool {
        matches!(self.number, Number::Uint | Number::Sint)
    }

    /// The components of `bits`, as the register gets them: f32, or an integer.
    /// Those that the format lacks are 0.
    fn decode(self, bits: u128) -> [u32; 4] {
        let mut shift = 0;
        let mut components = [0; 4];
        for (component, &width) in components.iter_mut().zip(self.widths) {
            let unsigned = (bits >> shift) as u32 & (u32::MAX >> (32 - width));
            *component = self.number.decode(unsigned, width);
            shift += width;
        }
        components
    }
}

impl Number {
    fn decode(self, unsigned: u32, width: u32) -> u32 {
        let signed = ((unsigned << (32 - width)) as i32) >> (32 - width);
        let float = match self {
            Self::Uint => return unsigned,
            Self::Sint => return signed as u32,
            Self::Unorm => unsigned as f32 / ((1_u32 << width) - 1) as f32,
            Self::Snorm => (signed as f32 / ((1_u32 << (width - 1)) - 1) as f32).max(-1.0),
            Self::Uscaled => unsigned as f32,
            Self::Sscaled => signed as f32,
            Self::Float => match width {
                32 => return unsigned,
                // The small ones are f16 without a sign and with a shorter mantissa.
                _ => {
                    f16::from_bits((unsigned << (if width == 16 { 0 } else { 15 - width })) as u16)
                        .to_f32()
                }
            },
        };
        float.to_bits()
    }

    /// The component that `value` becomes; `None` where what the hardware makes of it is not written down: integers
    /// that do not fit, and floats that need rounding.
    fn encode(self, value: u32, width: u32) -> Option<u32> {
        let ones = u32::MAX >> (32 - width);
        let float = f32::from_bits(value);
        let encoded = match self {
            Self::Uint => value,
            Self::Sint => value & ones,
            Self::Unorm => (float.clamp(0.0, 1.0) * ones as f32).round_ties_even() as u32,
            Self::Snorm => {
                let scaled = float.clamp(-1.0, 1.0) * (ones >> 1) as f32;
                scaled.round_ties_even() as i32 as u32 & ones
            }
            Self::Uscaled => float as u32,
            Self::Sscaled => float as i32 as u32 & ones,
            Self::Float if width == 32 => value,
            Self::Float if width == 16 => f16::from_f32(float).to_bits().into(),
            Self::Float => return None,
        };
        let exact = matches!(self, Self::Unorm | Self::Snorm)
            || float.is_nan() && self == Self::Float
            || encoded <= ones && self.decode(encoded, width) == value;
        exact.then_some(encoded)
    }
}

/// The register's 16 bits for a component.
fn narrow(component: u32, integer: bool) -> u16 {
    if integer { component as u16 } else { f16::from_f32(f32::from_bits(component)).to_bits() }
}

/// The component for a register's 16 bits.
fn widen(bits: u16, element: Element) -> u32 {
    match element.number {
        Number::Uint => bits.into(),
        Number::Sint => bits as i16 as u32,
        _ => f16::from_bits(bits).to_f32().to_bits(),
    }
}

impl Formatted {
    fn num_registers(self) -> usize {
        if self.d16.is_some() { self.num_components.div_ceil(2) } else { self.num_components }
    }

    /// The register of a component, and the half of it.
    fn place(self, component: usize) -> (usize, u32) {
        match self.d16 {
            None => (component, 0),
            Some(Part::High) => (0, 16),
            Some(_) => (component / 2, component as u32 % 2 * 16),
        }
    }
}

/// The lanes for which all of the element is in range, which is checked as a whole.
fn targets_in_range(
    wave: &Wave,
    inst: &Inst,
    resource: &Resource,
    element: Element,
) -> Result<Targets, Trap> {
    let num_bytes = element.num_bytes();
    let targets = targets(wave, inst, resource, num_bytes)?;
    let inside = targets.in_range(0) & targets.in_range(num_bytes as u64 - 1);
    Ok(targets.targets.only(inside))
}

/// `buffer_load_format_*`, `tbuffer_load_format_*`.
pub(super) fn load<O: Observer>(
    wave: &mut Wave,
    inst: &Inst,
    context: &mut Context<'_, O>,
    resource: &Resource,
    formatted: Formatted,
) -> Result<(), Trap> {
    let index = registers(inst.dst, formatted.num_registers())?;
    if resource.unbound(true) {
        write(wave, index, formatted, wave.exec, |_, _| 0);
        return Ok(());
    }
    let element = Element::of(inst, resource)?;
    let targets = targets_in_range(wave, inst, resource, element)?;
    let bits = load_bits(context, &targets, element)?;
    let select = if inst.format == Format::Mtbuf { [4, 5, 6, 7] } else { resource.dst_sel };
    let one = if element.is_integer() { 1 } else { 1_f32.to_bits() };
    let select = |components: [u32; 4], component: usize| match select[component] {
        1 => one,
        source @ 4..=7 => components[source as usize - 4],
        _ => 0,
    };
    write(wave, index, formatted, wave.exec, |lane, component| {
        let inside = targets.lanes >> lane & 1 != 0;
        let components = if inside { element.decode(bits[lane]) } else { [0; 4] };
        let value = select(components, component);
        if formatted.d16.is_some() { narrow(value, element.is_integer()).into() } else { value }
    });
    Ok(())
}

/// Puts what `value` gives for a lane and a component into the registers.
fn write(
    wave: &mut Wave,
    index: usize,
    formatted: Formatted,
    lanes: u64,
    value: impl Fn(usize, usize) -> u32,
) {
    for register in index..index + formatted.num_registers() {
        let row = wave.vector_mut(register);
        for_lanes(lanes, |lane| row[lane] = 0);
    }
    for component in 0..formatted.num_components {
        let (register, shift) = formatted.place(component);
        let row = wave.vector_mut(index + register);
        for_lanes(lanes, |lane| row[lane] |= value(lane, component) << shift);
    }
}

/// The element of each lane.
fn load_bits<O: Observer>(
    context: &mut Context<'_, O>,
    targets: &Targets,
    element: Element,
) -> Result<[u128; WAVE_SIZE], Trap> {
    let mut bits = [0; WAVE_SIZE];
    if targets.lanes == 0 {
        return Ok(bits);
    }
    let arena = &mut context.memory.arena;
    let num_bytes = element.num_bytes();
    let outside = match num_bytes {
        1 => gather(arena, targets, |lane, value: u8| bits[lane] = value.into()),
        2 => gather(arena, targets, |lane, value: u16| bits[lane] = value.into()),
        4 => gather(arena, targets, |lane, value: u32| bits[lane] = value.into()),
        8 => gather(arena, targets, |lane, value: [u32; 2]| bits[lane] = join(&value)),
        12 => gather(arena, targets, |lane, value: [u32; 3]| bits[lane] = join(&value)),
        _ => gather(arena, targets, |lane, value: [u32; 4]| bits[lane] = join(&value)),
    };
    let (kind, space) = (AccessKind::Load, Space::Global);
    finish(context, Done { kind, space, targets, num_bytes, outside })?;
    Ok(bits)
}

fn join(dwords: &[u32]) -> u128 {
    dwords.iter().rev().fold(0, |bits, &dword| bits << 32 | u128::from(dword))
}

/// `buffer_store_format_*`, `tbuffer_store_format_*`.
pub(super) fn store<O: Observer>(
    wave: &Wave,
    inst: &Inst,
    context: &mut Context<'_, O>,
    resource: &Resource,
    formatted: Formatted,
) -> Result<(), Trap> {
    let index = registers(inst.src[1], formatted.num_registers())?;
    if resource.unbound(true) {
        return Ok(());
    }
    let element = Element::of(inst, resource)?;
    if formatted.num_components < element.widths.len() {
        return Err(Trap::Unimplemented(format!("{} to a wider format", inst.op.name())));
    }
    if inst.format == Format::Mubuf
        && resource.dst_sel[..element.widths.len()] != [4, 5, 6, 7][..element.widths.len()]
    {
        return Err(Trap::Unimplemented(format!("{} with dst_sel", inst.op.name())));
    }
    let targets = &targets_in_range(wave, inst, resource, element)?;
    if targets.lanes == 0 {
        return Ok(());
    }
    let bits = encode(wave, inst, index, formatted, element, targets.lanes)?;
    let arena = &mut context.memory.arena;
    let dword = |lane: usize, dword: usize| (bits[lane] >> (32 * dword)) as u32;
    let num_bytes = element.num_bytes();
    let outside = match num_bytes {
        1 => scatter(arena, targets, |lane| bits[lane] as u8),
        2 => scatter(arena, targets, |lane| bits[lane] as u16),
        4 => scatter(arena, targets, |lane| bits[lane] as u32),
        8 => scatter(arena, targets, |lane| [0, 1].map(|i| dword(lane, i))),
        12 => scatter(arena, targets, |lane| [0, 1, 2].map(|i| dword(lane, i))),
        _ => scatter(arena, targets, |lane| [0, 1, 2, 3].map(|i| dword(lane, i))),
    };
    let (kind, space) = (AccessKind::Store, Space::Global);
    finish(context, Done { kind, space, targets, num_bytes, outside })
}

/// The elements to store.
fn encode(
    wave: &Wave,
    inst: &Inst,
    index: usize,
    formatted: Formatted,
    element: Element,
    lanes: u64,
) -> Result<[u128; WAVE_SIZE], Trap> {
    let mut bits = [0; WAVE_SIZE];
    let mut lost = None;
    for_lanes(lanes, |lane| {
        let mut position = 0;
        for (component, &width) in element.widths.iter().enumerate() {
            let (register, shift) = formatted.place(component);
            let value = wave.vector(index + register)[lane] >> shift;
            let value = if formatted.d16.is_some() { widen(value as u16, element) } else { value };
            match element.number.encode(value, width) {
                Some(encoded) => bits[lane] |= u128::from(encoded) << position,
                None => lost = Some((lane, value)),
            }
            position += width;
        }
    });
    match lost {
        None => Ok(bits),
        Some((lane, value)) => Err(Trap::Unimplemented(format!(
            "{}: lane {lane} stores {value:#x}, which the format cannot hold exactly",
            inst.op.name()
        ))),
    }
}
