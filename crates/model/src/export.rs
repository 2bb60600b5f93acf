//! Words of an export: a restore into plain files, without a database system.

use std::fmt::Write;
use std::path::PathBuf;

use strum::{Display, EnumString};

/// How an export writes rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Display, EnumString)]
#[strum(serialize_all = "lowercase", ascii_case_insensitive)]
pub enum ExportFormat {
    /// In the form that the database system's own tools load again.
    #[default]
    Sql,
    /// A CSV file for each table, with a header.
    Csv,
}

/// Where an export goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportPlace {
    /// A directory that is there and belongs to this export alone. A database goes into a directory
    /// below it, named as the request names its target.
    pub directory: PathBuf,
    /// How rows are written.
    pub format: ExportFormat,
}

/// A file name is cut to this many bytes, before its ending.
const LONGEST: usize = 180;

/// A name that is safe in every file system, made of the parts of an object's name: letters, digits,
/// `-` and `_` stay, everything else becomes `%` and two digits of hex for each byte. A dot stays only inside a
/// name of one part. Two names may still be one where a file system ignores case: a caller that
/// makes several keeps count.
///
/// ```
/// use model::safe_file_name;
/// assert_eq!(safe_file_name(&["public", "orders"]), "public.orders");
/// assert_eq!(safe_file_name(&["shop.db"]), "shop.db");
/// assert_eq!(safe_file_name(&["../etc", "a.b"]), "%2E%2E%2Fetc.a%2Eb");
/// ```
pub fn safe_file_name(parts: &[&str]) -> String {
    let dots = parts.len() == 1;
    let escaped: Vec<String> = parts.iter().map(|part| escaped(part, dots)).collect();
    let name = escaped.join(".");
    if name.len() <= LONGEST {
        return name;
    }
    let mut end = LONGEST - 9;
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}~{:08x}", &name[..end], checksum(parts))
}

fn escaped(part: &str, dots: bool) -> String {
    let mut name = String::new();
    for (at, c) in part.char_indices() {
        let stays =
            c.is_alphanumeric() || c == '-' && at > 0 || c == '_' || c == '.' && dots && at > 0;
        if stays {
            name.push(c);
            continue;
        }
        for byte in c.encode_utf8(&mut [0; 4]).bytes() {
            // Writing into a String cannot fail.
            let _ = write!(name, "%{byte:02X}");
        }
    }
    name
}

/// FNV-1a: tells apart names that begin alike; nothing depends on its strength.
fn checksum(parts: &[&str]) -> u32 {
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0]));
    bytes.fold(0x811c_9dc5, |sum, byte| {
        (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_name_leaves_its_directory_and_all_fit(parts in prop::collection::vec("\\PC{0,90}|[\\x00-\\x7f]{0,90}", 1..3)) {
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            let name = safe_file_name(&parts);
            prop_assert!(name.len() <= LONGEST);
            prop_assert!(!name.starts_with('-'));
            prop_assert!(parts.len() > 1 || !name.starts_with('.'));
            prop_assert!(!name.contains(['/', '\\', '\0', '\n', '"', '\'', ' ', ':']), "{name}");
        }

        #[test]
        fn names_that_differ_stay_apart(one in "[a-c./% é]{1,6}", other in "[a-c./% é]{1,6}") {
            prop_assume!(one != other);
            prop_assert_ne!(safe_file_name(&[&one, "t"]), safe_file_name(&[&other, "t"]));
        }
    }

    #[test]
    fn long_names_that_begin_alike_stay_apart() {
        let long = "ä".repeat(200);
        let (one, other) = (format!("{long}1"), format!("{long}2"));
        assert_ne!(safe_file_name(&[&one]), safe_file_name(&[&other]));
    }
}
