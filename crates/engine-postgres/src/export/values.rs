//! Values of built-in types, from their binary form to the text that PostgreSQL itself prints with
//! the settings of our sessions: ISO dates in UTC, floats in their shortest form, bytea in hex.

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::nested;
use crate::facts::Form;

/// What went wrong in a value.
pub(super) type Wrong = &'static str;

const SHORT: Wrong = "a value is too short for its type";
const LONG: Wrong = "a value is too long for its type";
const KIND: Wrong = "a value is of a form that is not known";

/// Reads numbers off the front of a value.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Wrong> {
        let (now, rest) = self.0.split_at_checked(count).ok_or(SHORT)?;
        self.0 = rest;
        Ok(now)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Wrong> {
        self.take(N)?.try_into().map_err(|_| SHORT)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Wrong> {
        Ok(self.array::<1>()?[0])
    }

    fn i16(&mut self) -> Result<i16, Wrong> {
        self.array().map(i16::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Result<i32, Wrong> {
        self.array().map(i32::from_be_bytes)
    }

    fn i64(&mut self) -> Result<i64, Wrong> {
        self.array().map(i64::from_be_bytes)
    }

    fn f64(&mut self) -> Result<f64, Wrong> {
        self.array().map(f64::from_be_bytes)
    }

    /// The bytes behind their length; `None`: NULL.
    pub(super) fn value(&mut self) -> Result<Option<&'a [u8]>, Wrong> {
        match self.i32()? {
            -1 => Ok(None),
            length => {
                let length = usize::try_from(length).map_err(|_| SHORT)?;
                self.take(length).map(Some)
            }
        }
    }

    pub(super) fn end(&self) -> Result<(), Wrong> {
        if self.0.is_empty() { Ok(()) } else { Err(LONG) }
    }
}

/// Appends a value's text.
pub(super) fn print(form: &Form, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Wrong> {
    match form {
        Form::Label => out.extend_from_slice(bytes),
        Form::Array(element) => nested::array(element, bytes, out)?,
        Form::Range(of) => nested::range(of, bytes, out)?,
        Form::Multirange(of) => nested::multirange(of, bytes, out)?,
        Form::Plain(name) => plain(name, bytes, out)?,
    }
    Ok(())
}

fn plain(name: &str, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Wrong> {
    let text = match name {
        "text" | "varchar" | "bpchar" | "name" | "json" => {
            out.extend_from_slice(bytes);
            return Ok(());
        }
        "jsonb" => {
            let (version, text) = bytes.split_first().ok_or(SHORT)?;
            if *version != 1 {
                return Err(KIND);
            }
            out.extend_from_slice(text);
            return Ok(());
        }
        "int2vector" | "oidvector" => return nested::vector(name, bytes, out),
        "char" => char(bytes)?,
        "bytea" => format!("\\x{}", hex(bytes)),
        _ => fixed(name, bytes)?,
    };
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

/// What is no text.
fn fixed(name: &str, bytes: &[u8]) -> Result<String, Wrong> {
    let mut fields = Fields(bytes);
    let f = &mut fields;
    let text = match name {
        "bool" => if f.u8()? == 0 { "f" } else { "t" }.to_owned(),
        "int2" => f.i16()?.to_string(),
        "int4" => f.i32()?.to_string(),
        "int8" => f.i64()?.to_string(),
        "oid" => f.i32()?.cast_unsigned().to_string(),
        "xid8" => f.i64()?.cast_unsigned().to_string(),
        "float4" => float4(f32::from_be_bytes(f.array()?)),
        "float8" => float8(f.f64()?),
        "numeric" => numeric(f)?,
        "date" => date(f.i32()?),
        "time" => time(f.i64()?),
        "timetz" => format!("{}{}", time(f.i64()?), zone(f.i32()?)),
        "timestamp" => timestamp(f.i64()?, ""),
        "timestamptz" => timestamp(f.i64()?, "+00"),
        "interval" => interval(f)?,
        "uuid" => uuid(&f.array()?),
        "inet" | "cidr" => address(f)?,
        "macaddr" => colons(f.take(6)?),
        "macaddr8" => colons(f.take(8)?),
        "bit" | "varbit" => bits(f)?,
        "pg_lsn" => {
            let lsn = f.i64()?.cast_unsigned();
            format!("{:X}/{:X}", lsn >> 32, lsn & 0xffff_ffff)
        }
        _ => shape(name, f)?,
    };
    fields.end()?;
    Ok(text)
}

/// Points, lines, areas.
fn shape(name: &str, f: &mut Fields<'_>) -> Result<String, Wrong> {
    Ok(match name {
        "point" => point(f)?,
        "lseg" => format!("[{},{}]", point(f)?, point(f)?),
        "box" => format!("{},{}", point(f)?, point(f)?),
        "line" => {
            let (a, b, c) = (f.f64()?, f.f64()?, f.f64()?);
            format!("{{{},{},{}}}", float8(a), float8(b), float8(c))
        }
        "circle" => format!("<{},{}>", point(f)?, float8(f.f64()?)),
        "path" => match f.u8()? {
            0 => format!("[{}]", points(f)?),
            _ => format!("({})", points(f)?),
        },
        "polygon" => format!("({})", points(f)?),
        _ => return Err(KIND),
    })
}

fn point(f: &mut Fields<'_>) -> Result<String, Wrong> {
    Ok(format!("({},{})", float8(f.f64()?), float8(f.f64()?)))
}

fn points(f: &mut Fields<'_>) -> Result<String, Wrong> {
    let count = f.i32()?;
    let points: Result<Vec<String>, Wrong> = (0..count).map(|_| point(f)).collect();
    Ok(points?.join(","))
}

fn char(bytes: &[u8]) -> Result<String, Wrong> {
    match bytes {
        [0] => Ok(String::new()),
        [byte] if byte.is_ascii() => Ok(char::from(*byte).to_string()),
        [byte] => Ok(format!("\\{byte:03o}")),
        _ => Err(SHORT),
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing into a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Digits to the base of 10,000; the first has that weight.
fn numeric(f: &mut Fields<'_>) -> Result<String, Wrong> {
    let (count, weight) = (f.i16()?, i32::from(f.i16()?));
    let (sign, scale) = (f.i16()?.cast_unsigned(), f.i16()?);
    let digits: Result<Vec<i16>, Wrong> = (0..count).map(|_| f.i16()).collect();
    let digits = digits?;
    let sign = match sign {
        0 => "",
        0x4000 => "-",
        0xc000 => return Ok("NaN".to_owned()),
        0xd000 => return Ok("Infinity".to_owned()),
        0xf000 => return Ok("-Infinity".to_owned()),
        _ => return Err(KIND),
    };
    let digit = |place: i32| {
        usize::try_from(place)
            .ok()
            .and_then(|p| digits.get(p))
            .copied()
            .unwrap_or(0)
    };
    let mut text = sign.to_owned();
    // Writing into a String cannot fail.
    let _ = write!(text, "{}", if weight < 0 { 0 } else { digit(0) });
    for place in 1..=weight {
        let _ = write!(text, "{:04}", digit(place));
    }
    let scale = usize::try_from(scale).map_err(|_| KIND)?;
    if scale > 0 {
        text.push('.');
        let whole = text.len();
        let mut place = weight + 1;
        while text.len() < whole + scale {
            let _ = write!(text, "{:04}", digit(place));
            place += 1;
        }
        text.truncate(whole + scale);
    }
    Ok(text)
}

fn float4(value: f32) -> String {
    float(&format!("{value:e}"), 6)
}

pub(super) fn float8(value: f64) -> String {
    float(&format!("{value:e}"), 15)
}

/// From Rust's shortest digits to PostgreSQL's way of writing them.
fn float(scientific: &str, digits_before_exponent: i32) -> String {
    match scientific {
        "NaN" => return "NaN".to_owned(),
        "inf" => return "Infinity".to_owned(),
        "-inf" => return "-Infinity".to_owned(),
        _ => {}
    }
    let (sign, number) = match scientific.strip_prefix('-') {
        Some(number) => ("-", number),
        None => ("", scientific),
    };
    let (mantissa, exponent) = number.split_once('e').unwrap_or((number, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    if exponent < -4 || exponent >= digits_before_exponent {
        let minus = if exponent < 0 { '-' } else { '+' };
        return format!("{sign}{mantissa}e{minus}{:02}", exponent.abs());
    }
    let (places, length) = (exponent.unsigned_abs() as usize, digits.len());
    match exponent {
        ..0 => format!("{sign}0.{}{digits}", "0".repeat(places - 1)),
        _ if length <= places + 1 => format!("{sign}{digits}{}", "0".repeat(places + 1 - length)),
        _ => format!("{sign}{}.{}", &digits[..=places], &digits[places + 1..]),
    }
}

/// Days since 2000-01-01 as year, month, day, and whether before Christ.
fn calendar(days: i64) -> (i64, i64, i64) {
    // The days are counted from 0000-03-01, so that a leap day ends its year.
    let days = days + 730_425;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + i64::from(month <= 2), month, day)
}

/// The date, and what stands behind everything.
fn iso(days: i64) -> (String, &'static str) {
    let (year, month, day) = calendar(days);
    let (year, era) = if year > 0 {
        (year, "")
    } else {
        (1 - year, " BC")
    };
    (format!("{year:04}-{month:02}-{day:02}"), era)
}

fn date(days: i32) -> String {
    match days {
        i32::MAX => "infinity".to_owned(),
        i32::MIN => "-infinity".to_owned(),
        _ => {
            let (date, era) = iso(i64::from(days));
            format!("{date}{era}")
        }
    }
}

fn timestamp(micros: i64, zone: &str) -> String {
    const DAY: i64 = 86_400_000_000;
    match micros {
        i64::MAX => "infinity".to_owned(),
        i64::MIN => "-infinity".to_owned(),
        _ => {
            let (date, era) = iso(micros.div_euclid(DAY));
            format!("{date} {}{zone}{era}", time(micros.rem_euclid(DAY)))
        }
    }
}

fn time(micros: i64) -> String {
    let seconds = micros / 1_000_000;
    let fraction = fraction(micros % 1_000_000);
    format!(
        "{:02}:{:02}:{:02}{fraction}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

fn fraction(micros: i64) -> String {
    match micros {
        0 => String::new(),
        _ => format!(".{micros:06}").trim_end_matches('0').to_owned(),
    }
}

/// Seconds west of Greenwich, as an offset to the east.
fn zone(west: i32) -> String {
    let (sign, seconds) = (if west > 0 { '-' } else { '+' }, west.abs());
    let mut text = format!("{sign}{:02}", seconds / 3600);
    if seconds % 3600 != 0 {
        let _ = write!(text, ":{:02}", seconds / 60 % 60);
    }
    if seconds % 60 != 0 {
        let _ = write!(text, ":{:02}", seconds % 60);
    }
    text
}

fn interval(f: &mut Fields<'_>) -> Result<String, Wrong> {
    let (micros, days, months) = (f.i64()?, f.i32()?, f.i32()?);
    match (micros, days, months) {
        (i64::MAX, i32::MAX, i32::MAX) => return Ok("infinity".to_owned()),
        (i64::MIN, i32::MIN, i32::MIN) => return Ok("-infinity".to_owned()),
        _ => {}
    }
    let mut text = String::new();
    let mut before = false;
    for (value, unit) in [(months / 12, "year"), (months % 12, "mon"), (days, "day")] {
        if value == 0 {
            continue;
        }
        let gap = if text.is_empty() { "" } else { " " };
        let plus = if before && value > 0 { "+" } else { "" };
        let plural = if value == 1 { "" } else { "s" };
        let _ = write!(text, "{gap}{plus}{value} {unit}{plural}");
        before = value < 0;
    }
    if text.is_empty() || micros != 0 {
        let gap = if text.is_empty() { "" } else { " " };
        let sign = match micros {
            ..0 => "-",
            _ if before => "+",
            _ => "",
        };
        let micros = micros.unsigned_abs();
        let (seconds, rest) = (micros / 1_000_000, micros % 1_000_000);
        let fraction = fraction(i64::try_from(rest).unwrap_or(0));
        let _ = write!(
            text,
            "{gap}{sign}{:02}:{:02}:{:02}{fraction}",
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60
        );
    }
    Ok(text)
}

fn uuid(bytes: &[u8; 16]) -> String {
    let text = hex(bytes);
    let parts = [
        &text[..8],
        &text[8..12],
        &text[12..16],
        &text[16..20],
        &text[20..],
    ];
    parts.join("-")
}

fn colons(bytes: &[u8]) -> String {
    let pairs: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    pairs.join(":")
}

fn bits(f: &mut Fields<'_>) -> Result<String, Wrong> {
    let count = usize::try_from(f.i32()?).map_err(|_| KIND)?;
    let bytes = f.take(count.div_ceil(8))?;
    let all = bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1));
    Ok(all
        .take(count)
        .map(|bit| if bit == 0 { '0' } else { '1' })
        .collect())
}

fn address(f: &mut Fields<'_>) -> Result<String, Wrong> {
    let (family, bits, is_cidr, length) = (f.u8()?, f.u8()?, f.u8()?, f.u8()?);
    let (text, all) = match (family, length) {
        (2, 4) => (Ipv4Addr::from(f.array::<4>()?).to_string(), 32),
        (3, 16) => (ipv6(Ipv6Addr::from(f.array::<16>()?)), 128),
        _ => return Err(KIND),
    };
    match bits == all && is_cidr == 0 {
        true => Ok(text),
        false => Ok(format!("{text}/{bits}")),
    }
}

/// PostgreSQL writes an address of version 4 inside one of version 6 with dots, marked or not.
fn ipv6(address: Ipv6Addr) -> String {
    let [a, b, c, d, e, f, g, h] = address.segments();
    if [a, b, c, d, e, f] == [0; 6] && !(g == 0 && h <= 1) {
        let [.., w, x, y, z] = address.octets();
        return format!("::{}", Ipv4Addr::new(w, x, y, z));
    }
    address.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_written_as_postgresql_writes_them() {
        let all = [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.5, "1.5"),
            (100.0, "100"),
            (1e14, "100000000000000"),
            (1e15, "1e+15"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (-123.456, "-123.456"),
            (1.7976931348623157e308, "1.7976931348623157e+308"),
        ];
        for (value, text) in all {
            assert_eq!(float8(value), text);
        }
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        assert_eq!(date(0), "2000-01-01");
        assert_eq!(date(8825), "2024-02-29");
        assert_eq!(date(-730_119), "0001-01-01");
        assert_eq!(date(-730_120), "0001-12-31 BC");
        assert_eq!(date(2_145_031_948), "5874897-12-31");
    }
}
