//! Arrays, ranges and multiranges: values made of values.

use super::values::{Fields, Wrong, print};
use crate::facts::Form;

/// `{1,2,NULL}`; with bounds before it where they are not 1.
pub(super) fn array(element: &Form, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Wrong> {
    let mut fields = Fields(bytes);
    let (dimensions, _nulls, _type) = (fields.i32()?, fields.i32()?, fields.i32()?);
    if dimensions == 0 {
        out.extend_from_slice(b"{}");
        return fields.end();
    }
    let mut bounds = Vec::new();
    for _ in 0..dimensions {
        bounds.push((fields.i32()?, fields.i32()?));
    }
    if bounds.iter().any(|(_, lower)| *lower != 1) {
        for (count, lower) in &bounds {
            let upper = i64::from(*lower) + i64::from(*count) - 1;
            out.extend_from_slice(format!("[{lower}:{upper}]").as_bytes());
        }
        out.push(b'=');
    }
    let counts: Vec<i32> = bounds.iter().map(|(count, _)| *count).collect();
    level(element, &counts, &mut fields, out)?;
    fields.end()
}

fn level(
    element: &Form,
    counts: &[i32],
    fields: &mut Fields<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Wrong> {
    let Some((count, inner)) = counts.split_first() else {
        return match fields.value()? {
            Some(bytes) => one(element, bytes, out),
            None => {
                out.extend_from_slice(b"NULL");
                Ok(())
            }
        };
    };
    // Boxes hold commas themselves.
    let between = if *element == Form::Plain("box".to_owned()) {
        b';'
    } else {
        b','
    };
    out.push(b'{');
    for place in 0..*count {
        if place > 0 {
            out.push(between);
        }
        level(element, inner, fields, out)?;
    }
    out.push(b'}');
    Ok(())
}

fn one(element: &Form, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Wrong> {
    let mut text = Vec::new();
    print(element, bytes, &mut text)?;
    let between = if *element == Form::Plain("box".to_owned()) {
        b';'
    } else {
        b','
    };
    let special = |byte: &u8| {
        matches!(byte, b'"' | b'\\' | b'{' | b'}') || *byte == between || is_space(*byte)
    };
    if !text.is_empty() && !text.iter().any(special) && !text.eq_ignore_ascii_case(b"null") {
        out.extend_from_slice(&text);
        return Ok(());
    }
    out.push(b'"');
    for byte in text {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
    Ok(())
}

/// `int2vector` and `oidvector`: `1 2 3`.
pub(super) fn vector(name: &str, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Wrong> {
    let element = match name {
        "int2vector" => "int2",
        _ => "oid",
    };
    let mut fields = Fields(bytes);
    let dimensions = fields.i32()?;
    fields.take(8)?;
    let count = match dimensions {
        0 => 0,
        _ => fields.i32()?,
    };
    if dimensions != 0 {
        fields.take(4)?;
    }
    for place in 0..count {
        if place > 0 {
            out.push(b' ');
        }
        let value = fields.value()?.ok_or("a vector holds a NULL")?;
        print(&Form::Plain(element.to_owned()), value, out)?;
    }
    fields.end()
}

/// `[1,5)`.
pub(super) fn range(of: &Form, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Wrong> {
    const EMPTY: u8 = 0x01;
    const LOWER_IN: u8 = 0x02;
    const UPPER_IN: u8 = 0x04;
    const NO_LOWER: u8 = 0x08;
    const NO_UPPER: u8 = 0x10;
    let mut fields = Fields(bytes);
    let flags = fields.u8()?;
    let has = |flag: u8| flags & flag != 0;
    if has(EMPTY) {
        out.extend_from_slice(b"empty");
        return fields.end();
    }
    out.push(if has(LOWER_IN) { b'[' } else { b'(' });
    if !has(NO_LOWER) {
        bound(of, &mut fields, out)?;
    }
    out.push(b',');
    if !has(NO_UPPER) {
        bound(of, &mut fields, out)?;
    }
    out.push(if has(UPPER_IN) { b']' } else { b')' });
    fields.end()
}

fn bound(of: &Form, fields: &mut Fields<'_>, out: &mut Vec<u8>) -> Result<(), Wrong> {
    let mut text = Vec::new();
    let value = fields.value()?.ok_or("a bound of a range is NULL")?;
    print(of, value, &mut text)?;
    let special = |byte: &u8| {
        matches!(byte, b'"' | b'\\' | b'(' | b')' | b'[' | b']' | b',') || is_space(*byte)
    };
    if !text.is_empty() && !text.iter().any(special) {
        out.extend_from_slice(&text);
        return Ok(());
    }
    out.push(b'"');
    for byte in text {
        if matches!(byte, b'"' | b'\\') {
            out.push(byte);
        }
        out.push(byte);
    }
    out.push(b'"');
    Ok(())
}

/// `{[1,5),[7,9)}`.
pub(super) fn multirange(of: &Form, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Wrong> {
    let mut fields = Fields(bytes);
    let count = fields.i32()?;
    out.push(b'{');
    for place in 0..count {
        if place > 0 {
            out.push(b',');
        }
        let value = fields.value()?.ok_or("a range of a multirange is NULL")?;
        range(of, value, out)?;
    }
    out.push(b'}');
    fields.end()
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}
