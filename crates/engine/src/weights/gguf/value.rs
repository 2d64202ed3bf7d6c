//! Metadata values, one variant per type of the format.

use super::GgufError;
use super::cursor::Cursor;

/// A metadata value.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Value {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    U64(u64),
    I64(i64),
    F32(f32),
    F64(f64),
    Bool(bool),
    Str(String),
    Array(Array),
}

/// A metadata array.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Array {
    U8(Vec<u8>),
    I8(Vec<i8>),
    U16(Vec<u16>),
    I16(Vec<i16>),
    U32(Vec<u32>),
    I32(Vec<i32>),
    U64(Vec<u64>),
    I64(Vec<i64>),
    F32(Vec<f32>),
    F64(Vec<f64>),
    Bool(Vec<bool>),
    Str(Vec<String>),
}

/// The format's numbers for types.
mod type_id {
    pub(super) const U8: u32 = 0;
    pub(super) const I8: u32 = 1;
    pub(super) const U16: u32 = 2;
    pub(super) const I16: u32 = 3;
    pub(super) const U32: u32 = 4;
    pub(super) const I32: u32 = 5;
    pub(super) const F32: u32 = 6;
    pub(super) const BOOL: u32 = 7;
    pub(super) const STRING: u32 = 8;
    pub(super) const ARRAY: u32 = 9;
    pub(super) const U64: u32 = 10;
    pub(super) const I64: u32 = 11;
    pub(super) const F64: u32 = 12;
}

/// The length that stands before a string's bytes.
const STRING_LEN_BYTES: usize = 8;

impl Value {
    /// Reads the type and the value of `key`.
    pub(super) fn read(cursor: &mut Cursor<'_>, key: &str) -> Result<Self, GgufError> {
        let id = cursor.u32(key)?;
        Ok(match id {
            type_id::U8 => Value::U8(u8::from_le_bytes(cursor.array(key)?)),
            type_id::I8 => Value::I8(i8::from_le_bytes(cursor.array(key)?)),
            type_id::U16 => Value::U16(u16::from_le_bytes(cursor.array(key)?)),
            type_id::I16 => Value::I16(i16::from_le_bytes(cursor.array(key)?)),
            type_id::U32 => Value::U32(cursor.u32(key)?),
            type_id::I32 => Value::I32(i32::from_le_bytes(cursor.array(key)?)),
            type_id::U64 => Value::U64(cursor.u64(key)?),
            type_id::I64 => Value::I64(i64::from_le_bytes(cursor.array(key)?)),
            type_id::F32 => Value::F32(f32::from_le_bytes(cursor.array(key)?)),
            type_id::F64 => Value::F64(f64::from_le_bytes(cursor.array(key)?)),
            type_id::BOOL => Value::Bool(truth(cursor.array(key)?, key)?),
            type_id::STRING => Value::Str(cursor.string(key)?.to_owned()),
            type_id::ARRAY => Value::Array(Array::read(cursor, key)?),
            _ => return Err(bad_type(key, id)),
        })
    }

    /// The value of an integer of any width.
    pub fn as_int(&self) -> Option<i128> {
        Some(match *self {
            Value::U8(x) => x.into(),
            Value::I8(x) => x.into(),
            Value::U16(x) => x.into(),
            Value::I16(x) => x.into(),
            Value::U32(x) => x.into(),
            Value::I32(x) => x.into(),
            Value::U64(x) => x.into(),
            Value::I64(x) => x.into(),
            _ => return None,
        })
    }

    /// Type and, for what is short, value: `u32 7`, `array of 3 string`.
    pub fn describe(&self) -> String {
        match self {
            Value::U8(x) => format!("u8 {x}"),
            Value::I8(x) => format!("i8 {x}"),
            Value::U16(x) => format!("u16 {x}"),
            Value::I16(x) => format!("i16 {x}"),
            Value::U32(x) => format!("u32 {x}"),
            Value::I32(x) => format!("i32 {x}"),
            Value::U64(x) => format!("u64 {x}"),
            Value::I64(x) => format!("i64 {x}"),
            Value::F32(x) => format!("f32 {x}"),
            Value::F64(x) => format!("f64 {x}"),
            Value::Bool(x) => format!("bool {x}"),
            Value::Str(text) => format!("string {:?}", shorten(text)),
            Value::Array(array) => format!("array of {} {}", array.len(), array.element_name()),
        }
    }
}

impl Array {
    fn read(cursor: &mut Cursor<'_>, key: &str) -> Result<Self, GgufError> {
        let id = cursor.u32(key)?;
        Ok(match id {
            type_id::U8 => Array::U8(scalars(cursor, key, u8::from_le_bytes)?),
            type_id::I8 => Array::I8(scalars(cursor, key, i8::from_le_bytes)?),
            type_id::U16 => Array::U16(scalars(cursor, key, u16::from_le_bytes)?),
            type_id::I16 => Array::I16(scalars(cursor, key, i16::from_le_bytes)?),
            type_id::U32 => Array::U32(scalars(cursor, key, u32::from_le_bytes)?),
            type_id::I32 => Array::I32(scalars(cursor, key, i32::from_le_bytes)?),
            type_id::U64 => Array::U64(scalars(cursor, key, u64::from_le_bytes)?),
            type_id::I64 => Array::I64(scalars(cursor, key, i64::from_le_bytes)?),
            type_id::F32 => Array::F32(scalars(cursor, key, f32::from_le_bytes)?),
            type_id::F64 => Array::F64(scalars(cursor, key, f64::from_le_bytes)?),
            type_id::BOOL => {
                let bytes = scalars(cursor, key, |byte: [u8; 1]| byte)?;
                let bools = bytes.into_iter().map(|byte| truth(byte, key));
                Array::Bool(bools.collect::<Result<_, _>>()?)
            }
            type_id::STRING => {
                let count = cursor.count(STRING_LEN_BYTES, key)?;
                let texts = (0..count).map(|_| cursor.string(key).map(str::to_owned));
                Array::Str(texts.collect::<Result<_, _>>()?)
            }
            type_id::ARRAY => {
                return Err(GgufError::BadValue {
                    key: key.to_owned(),
                    problem: "an array of arrays, which no model needs".to_owned(),
                });
            }
            _ => return Err(bad_type(key, id)),
        })
    }

    /// Elements.
    pub fn len(&self) -> usize {
        match self {
            Array::U8(x) => x.len(),
            Array::I8(x) => x.len(),
            Array::U16(x) => x.len(),
            Array::I16(x) => x.len(),
            Array::U32(x) => x.len(),
            Array::I32(x) => x.len(),
            Array::U64(x) => x.len(),
            Array::I64(x) => x.len(),
            Array::F32(x) => x.len(),
            Array::F64(x) => x.len(),
            Array::Bool(x) => x.len(),
            Array::Str(x) => x.len(),
        }
    }

    /// Has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The type of the elements.
    pub const fn element_name(&self) -> &'static str {
        match self {
            Array::U8(_) => "u8",
            Array::I8(_) => "i8",
            Array::U16(_) => "u16",
            Array::I16(_) => "i16",
            Array::U32(_) => "u32",
            Array::I32(_) => "i32",
            Array::U64(_) => "u64",
            Array::I64(_) => "i64",
            Array::F32(_) => "f32",
            Array::F64(_) => "f64",
            Array::Bool(_) => "bool",
            Array::Str(_) => "string",
        }
    }

    /// The elements as i32, when they are integers and all of them fit.
    pub(super) fn to_i32(&self) -> Option<Vec<i32>> {
        match self {
            Array::U8(x) => narrow(x),
            Array::I8(x) => narrow(x),
            Array::U16(x) => narrow(x),
            Array::I16(x) => narrow(x),
            Array::U32(x) => narrow(x),
            Array::I32(x) => Some(x.clone()),
            Array::U64(x) => narrow(x),
            Array::I64(x) => narrow(x),
            Array::F32(_) | Array::F64(_) | Array::Bool(_) | Array::Str(_) => None,
        }
    }
}

fn narrow<T: Copy + TryInto<i32>>(numbers: &[T]) -> Option<Vec<i32>> {
    numbers.iter().map(|&x| x.try_into().ok()).collect()
}

/// A count and so many fixed-size elements.
fn scalars<const N: usize, T>(
    cursor: &mut Cursor<'_>,
    key: &str,
    from_le_bytes: fn([u8; N]) -> T,
) -> Result<Vec<T>, GgufError> {
    let count = cursor.count(N, key)?;
    // Cannot overflow: `count` elements fit in the file.
    let bytes = cursor.take(count * N, key)?;
    Ok(bytes.as_chunks::<N>().0.iter().map(|&x| from_le_bytes(x)).collect())
}

fn truth(byte: [u8; 1], key: &str) -> Result<bool, GgufError> {
    match byte {
        [0] => Ok(false),
        [1] => Ok(true),
        [other] => Err(GgufError::BadValue {
            key: key.to_owned(),
            problem: format!("{other} is neither false (0) nor true (1); the file is damaged"),
        }),
    }
}

fn bad_type(key: &str, id: u32) -> GgufError {
    GgufError::BadValue {
        key: key.to_owned(),
        problem: format!("value type {id} does not exist; the file is damaged"),
    }
}

/// At most 64 characters.
fn shorten(text: &str) -> String {
    match text.char_indices().nth(64) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}
