//! Reads a JSON object field by field, and says the whole way to whatever is wrong.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde_json::{Map, Value};

use crate::Refusal;
use crate::quirks::nearest;
use crate::strict_json::Strict;

/// Reads a body as JSON.
///
/// # Errors
/// [`Refusal::Json`] with line and column; [`Refusal::NoBody`] for nothing at all.
pub fn parse_json(bytes: &[u8]) -> Result<Value, Refusal> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(Refusal::NoBody);
    }
    let read: Result<Strict, _> = serde_json::from_slice(bytes);
    read.map(|Strict(value)| value).map_err(|fault| {
        let text = fault.to_string();
        // serde_json repeats the place at the end of its text.
        let what = text.split(" at line ").next().unwrap_or(&text).to_owned();
        Refusal::Json {
            what,
            line: fault.line(),
            column: fault.column(),
        }
    })
}

/// One object of a body. `null` is the same as absent wherever the answer may hold `null`, and
/// refused everywhere else.
pub(crate) struct Fields<'a> {
    map: &'a Map<String, Value>,
    place: String,
}

impl<'a> Fields<'a> {
    /// The object at `place` (empty for the body itself), which may have the fields `known` and,
    /// because a PUT takes what a GET gives, the fields `ignored`.
    pub fn of(
        value: &'a Value,
        place: &str,
        known: &[&str],
        ignored: &[&str],
    ) -> Result<Self, Refusal> {
        let Value::Object(map) = value else {
            let field = if place.is_empty() { "body" } else { place };
            return Err(Refusal::invalid(
                field,
                format!("must be a JSON object, not {}", kind(value)),
            ));
        };
        let fields = Fields {
            map,
            place: place.to_owned(),
        };
        match map
            .keys()
            .find(|key| !known.contains(&key.as_str()) && !ignored.contains(&key.as_str()))
        {
            None => Ok(fields),
            Some(key) => Err(Refusal::UnknownField {
                field: fields.way(key),
                nearest: nearest(key, known).map(str::to_owned),
            }),
        }
    }

    /// The whole way to a field.
    pub fn way(&self, name: &str) -> String {
        if self.place.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.place)
        }
    }

    /// The value as it was given: `Some(Null)` where it was given as `null`.
    pub fn given(&self, name: &str) -> Option<&'a Value> {
        self.map.get(name)
    }

    /// The value; `null` counts as absent.
    pub fn value(&self, name: &str) -> Option<&'a Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    /// The value of a field that must be there.
    pub fn required(&self, name: &str) -> Result<&'a Value, Refusal> {
        self.value(name).ok_or_else(|| Refusal::MissingField {
            field: self.way(name),
        })
    }

    /// A text, or nothing.
    pub fn text(&self, name: &str) -> Result<Option<&'a str>, Refusal> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(text)) if text.contains('\0') => {
                Err(self.wrong(name, "must not hold a NUL character"))
            }
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.wrong(name, format!("must be a text, not {}", kind(other)))),
        }
    }

    /// A text that must be there, with something in it.
    pub fn required_text(&self, name: &str) -> Result<&'a str, Refusal> {
        self.required(name)?;
        match self.text(name)? {
            Some(text) if !text.trim().is_empty() => Ok(text),
            _ => Err(self.wrong(name, "must not be empty")),
        }
    }

    /// `true` or `false`; absent is `default`.
    pub fn flag(&self, name: &str, default: bool) -> Result<bool, Refusal> {
        Ok(self.optional_flag(name)?.unwrap_or(default))
    }

    /// `true` or `false`, or nothing.
    pub fn optional_flag(&self, name: &str) -> Result<Option<bool>, Refusal> {
        match self.given(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(other) => {
                Err(self.wrong(name, format!("must be true or false, not {}", kind(other))))
            }
        }
    }

    /// A whole number in a range; absent is `default`.
    pub fn number(
        &self,
        name: &str,
        default: u32,
        range: RangeInclusive<u32>,
    ) -> Result<u32, Refusal> {
        let Some(value) = self.given(name) else {
            return Ok(default);
        };
        let number = value.as_u64().and_then(|n| u32::try_from(n).ok());
        match number.filter(|n| range.contains(n)) {
            Some(number) => Ok(number),
            None => {
                let (low, high) = (range.start(), range.end());
                let bounds = if *high == u32::MAX {
                    format!("must be a whole number of {low} or more")
                } else {
                    format!("must be a whole number from {low} to {high}")
                };
                Err(self.wrong(name, format!("{bounds}, not {}", shown(value))))
            }
        }
    }

    /// A word of a closed set, in any letter case, or nothing. `words` lists the set for the
    /// error.
    pub fn word<T: FromStr>(
        &self,
        name: &str,
        words: &[impl Display],
    ) -> Result<Option<T>, Refusal> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        match text.parse() {
            Ok(word) => Ok(Some(word)),
            Err(_) => Err(self.wrong(name, one_of(words, text))),
        }
    }

    /// The object below a field, or nothing.
    pub fn object(
        &self,
        name: &str,
        known: &[&str],
        ignored: &[&str],
    ) -> Result<Option<Fields<'a>>, Refusal> {
        self.value(name)
            .map(|value| Fields::of(value, &self.way(name), known, ignored))
            .transpose()
    }

    /// The items of a list; absent is empty.
    pub fn list(&self, name: &str) -> Result<&'a [Value], Refusal> {
        match self.given(name) {
            None => Ok(&[]),
            Some(Value::Array(items)) => Ok(items),
            Some(other) => Err(self.wrong(name, format!("must be a list, not {}", kind(other)))),
        }
    }

    /// That the value of a field cannot be.
    pub fn wrong(&self, name: &str, why: impl Into<String>) -> Refusal {
        Refusal::invalid(self.way(name), why)
    }

    /// That the effect of a field is not there yet.
    pub fn not_built(
        &self,
        name: &str,
        what: impl Into<String>,
        neutral: impl Into<String>,
    ) -> Refusal {
        Refusal::not_built(self.way(name), what, neutral)
    }
}

/// `must be one of …, not "x"`.
pub(crate) fn one_of(words: &[impl Display], given: &str) -> String {
    let words: Vec<String> = words.iter().map(ToString::to_string).collect();
    format!("must be {}, not {given:?}", words.join(" or "))
}

/// What kind of JSON a value is, for a sentence.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// A number as it was given, anything else by its kind.
fn shown(value: &Value) -> String {
    match value {
        Value::Number(number) => number.to_string(),
        other => kind(other).to_owned(),
    }
}
