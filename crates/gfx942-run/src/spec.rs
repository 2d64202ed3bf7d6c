//! Arguments as the command line writes them.

use std::path::PathBuf;
use std::str::FromStr;

/// What one argument is.
#[derive(Clone, PartialEq, Debug)]
pub enum Spec {
    /// A pointer to memory with the file's contents.
    In(PathBuf),
    /// A pointer to uninitialised memory, which is written to the file afterwards.
    Out(PathBuf, usize),
    /// A pointer to memory with the file's contents, which is written back afterwards.
    InOut(PathBuf),
    /// A pointer to zeros.
    Zero(usize),
    /// A number.
    Value(Vec<u8>),
}

/// An argument, and where in the kernarg segment it goes if the code object does not say.
#[derive(Clone, PartialEq, Debug)]
pub struct PlacedSpec {
    pub offset: Option<usize>,
    pub spec: Spec,
}

impl FromStr for PlacedSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(placed) = text.strip_prefix('@') else {
            return Ok(Self { offset: None, spec: text.parse()? });
        };
        let (offset, spec) = placed.split_once('=').ok_or("write @OFFSET=SPEC")?;
        Ok(Self { offset: Some(number(offset)?), spec: spec.parse()? })
    }
}

impl FromStr for Spec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const KINDS: &str = "in:FILE, out:FILE:BYTES, inout:FILE, zero:BYTES, i32:V, u32:V, i64:V, \
                             u64:V or f32:V";
        let (kind, rest) = text.split_once(':').ok_or_else(|| format!("write {KINDS}"))?;
        let spec = match kind {
            "in" => Self::In(rest.into()),
            "inout" => Self::InOut(rest.into()),
            "out" => {
                let (file, num_bytes) = rest.rsplit_once(':').ok_or("write out:FILE:BYTES")?;
                Self::Out(file.into(), number(num_bytes)?)
            }
            "zero" => Self::Zero(number(rest)?),
            "i32" => Self::Value(number::<i32>(rest)?.to_le_bytes().into()),
            "u32" => Self::Value(number::<u32>(rest)?.to_le_bytes().into()),
            "i64" => Self::Value(number::<i64>(rest)?.to_le_bytes().into()),
            "u64" => Self::Value(number::<u64>(rest)?.to_le_bytes().into()),
            "f32" => Self::Value(number::<f32>(rest)?.to_le_bytes().into()),
            _ => return Err(format!("unknown kind {kind}: write {KINDS}")),
        };
        Ok(spec)
    }
}

fn number<T: FromStr>(text: &str) -> Result<T, String>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error| format!("{text:?}: {error}"))
}

/// `X,Y,Z`, of which Y and Z may be left out.
pub fn three(text: &str) -> Result<[u32; 3], String> {
    let mut sizes = [1; 3];
    let mut parts = text.split(',');
    for (size, part) in sizes.iter_mut().zip(parts.by_ref()) {
        *size = number(part)?;
    }
    if parts.next().is_some() { Err("more than three numbers".to_owned()) } else { Ok(sizes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specs_are_read() {
        let check = |text: &str, offset, spec| {
            assert_eq!(text.parse(), Ok(PlacedSpec { offset, spec }), "{text}");
        };
        check("in:a:b.bin", None, Spec::In("a:b.bin".into()));
        check("out:c:d:12", None, Spec::Out("c:d".into(), 12));
        check("@16=inout:x", Some(16), Spec::InOut("x".into()));
        check("i32:-2", None, Spec::Value(vec![0xfe, 0xff, 0xff, 0xff]));
        check("@0=f32:0.5", Some(0), Spec::Value(0.5_f32.to_le_bytes().into()));
        check("u64:18446744073709551615", None, Spec::Value(vec![0xff; 8]));
        check("zero:4096", None, Spec::Zero(4096));
        for text in ["in", "out:x", "out:x:-1", "i32:3000000000", "@x=i32:1", "@4", "f16:1", ""] {
            assert!(text.parse::<PlacedSpec>().is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_read() {
        assert_eq!(three("5"), Ok([5, 1, 1]));
        assert_eq!(three("5,6,7"), Ok([5, 6, 7]));
        assert!(three("1,2,3,4").is_err() && three("").is_err() && three("1,,2").is_err());
    }
}
