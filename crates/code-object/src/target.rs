//! What a code object is compiled for.

use std::fmt;

use crate::Error;

/// The processor in the low byte of `e_flags`.
const MACH_MASK: u32 = 0xff;
const MACH_GFX942: u32 = 0x4c;

/// `e_flags` bits that are not the processor: two bits for each setting from code object V4 on, one before.
const XNACK_SHIFT: u32 = 8;
const SRAMECC_SHIFT: u32 = 10;
const V3_XNACK: u32 = 0x100;
const V3_SRAMECC: u32 = 0x200;

/// How a target feature (`xnack`, `sramecc`) must be set where the code runs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Setting {
    /// The code runs either way.
    Any,
    /// It must be off.
    Off,
    /// It must be on.
    On,
}

impl Setting {
    const fn from_two_bits(bits: u32) -> Self {
        match bits & 3 {
            2 => Self::Off,
            3 => Self::On,
            // 0 means that the processor lacks the feature.
            _ => Self::Any,
        }
    }

    const fn from_one_bit(is_on: bool) -> Self {
        if is_on { Self::On } else { Self::Off }
    }

    fn accepts(self, device: Self) -> bool {
        self == Self::Any || self == device
    }

    const fn suffix(self) -> &'static str {
        match self {
            Self::Any => "",
            Self::Off => "-",
            Self::On => "+",
        }
    }
}

/// What a code object is compiled for, or what a device is: gfx942 and two features.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Target {
    /// Error correction of on-chip memories.
    pub sramecc: Setting,
    /// Retry of page faults.
    pub xnack: Setting,
}

impl Target {
    /// An MI300X as ROCm presents it.
    pub const MI300X: Self = Self { sramecc: Setting::On, xnack: Setting::Off };

    /// Reads `e_flags`.
    pub(crate) fn from_flags(flags: u32, abi_version: u8) -> Result<Self, Error> {
        let mach = flags & MACH_MASK;
        if mach != MACH_GFX942 {
            return Err(Error::Target { found: processor(mach) });
        }
        let target = match abi_version {
            1 => Self {
                sramecc: Setting::from_one_bit(flags & V3_SRAMECC != 0),
                xnack: Setting::from_one_bit(flags & V3_XNACK != 0),
            },
            2..=4 => Self {
                sramecc: Setting::from_two_bits(flags >> SRAMECC_SHIFT),
                xnack: Setting::from_two_bits(flags >> XNACK_SHIFT),
            },
            version => return Err(Error::Version(version)),
        };
        Ok(target)
    }

    /// Reads `gfx942`, `gfx942:xnack-`, `gfx942:sramecc+:xnack-`. `None` is another processor, or no target at all.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        if parts.next()? != "gfx942" {
            return None;
        }
        let mut target = Self { sramecc: Setting::Any, xnack: Setting::Any };
        for part in parts {
            match part {
                "sramecc+" => target.sramecc = Setting::On,
                "sramecc-" => target.sramecc = Setting::Off,
                "xnack+" => target.xnack = Setting::On,
                "xnack-" => target.xnack = Setting::Off,
                _ => return None,
            }
        }
        Some(target)
    }

    /// Whether code for this target runs on `device`.
    pub fn runs_on(self, device: Self) -> bool {
        self.sramecc.accepts(device.sramecc) && self.xnack.accepts(device.xnack)
    }

    /// How many settings the code insists on: of two that fit, the one compiled for more is the better.
    pub(crate) fn num_settings(self) -> usize {
        [self.sramecc, self.xnack].iter().filter(|setting| **setting != Setting::Any).count()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("gfx942")?;
        for (name, setting) in [("sramecc", self.sramecc), ("xnack", self.xnack)] {
            if setting != Setting::Any {
                write!(f, ":{name}{}", setting.suffix())?;
            }
        }
        Ok(())
    }
}

/// Processors that a user is likely to have compiled for instead.
fn processor(mach: u32) -> String {
    let name = match mach {
        0x2c => "gfx900",
        0x2f => "gfx906",
        0x30 => "gfx908",
        0x3f => "gfx90a",
        0x36 => "gfx1030",
        0x41 => "gfx1100",
        0x4e => "gfx1201",
        0x4f => "gfx950",
        0x5f => "gfx9-4-generic",
        _ => return format!("processor {mach:#x}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_read_as_it_is_written() {
        for text in ["gfx942", "gfx942:xnack-", "gfx942:sramecc+", "gfx942:sramecc+:xnack-"] {
            assert_eq!(Target::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "gfx90a", "gfx942:", "gfx942:tgsplit+", "gfx9420"] {
            assert_eq!(Target::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn code_runs_where_its_settings_hold() {
        let check = |text: &str, expected: bool| {
            assert_eq!(Target::parse(text).unwrap().runs_on(Target::MI300X), expected, "{text}");
        };
        check("gfx942", true);
        check("gfx942:sramecc+:xnack-", true);
        check("gfx942:xnack+", false);
        check("gfx942:sramecc-", false);
    }
}
