//! The recovery key: 32 bytes that a person can write down and type again.
//!
//! `BSRK1-` and 13 groups of five characters of Crockford's base 32: four that carry 20 bits of the
//! key, and one that checks them and the group's place, so that a typo is found and its group named.

use std::fmt;
use std::str::FromStr;

use model::SecretString;
use zeroize::Zeroizing;

use crate::VaultError;
use crate::ids::random;

const PREFIX: &str = "BSRK1";
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const GROUPS: usize = 13;
const GROUP: usize = 5;

/// The key that is shown when a site is made, and opens its vault without the server.
#[derive(Clone)]
pub struct RecoveryKey(Zeroizing<[u8; 32]>);

/// Why a text is no recovery key. It never repeats the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecoveryKeyError {
    /// It begins otherwise.
    #[error("this is no recovery key: it must begin with {PREFIX}-")]
    Prefix,
    /// Characters are missing, or there are too many.
    #[error("this is no recovery key: it must have {GROUPS} groups of {GROUP} characters after {PREFIX}-, and has {found} characters, not {}", GROUPS * GROUP)]
    Length {
        /// Characters without hyphens and spaces.
        found: usize,
    },
    /// A character that none of them has.
    #[error(
        "group {group} of the recovery key has the character {character:?}, which no recovery key has"
    )]
    Character {
        /// Counted from 1, behind the prefix.
        group: usize,
        /// The character.
        character: char,
    },
    /// The check character of a group does not fit.
    #[error("group {group} of the recovery key has a typo, or stands in another group's place")]
    Typo {
        /// Counted from 1, behind the prefix.
        group: usize,
    },
    /// The groups fit, but not together.
    #[error("the recovery key has a typo: its groups do not belong together")]
    Mixed,
}

impl RecoveryKey {
    /// A new one.
    ///
    /// # Errors
    /// Only when the system gives no random bytes.
    pub fn generate() -> Result<Self, VaultError> {
        Ok(RecoveryKey(Zeroizing::new(random()?)))
    }

    /// The bytes.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// As it is shown: `BSRK1-XXXXX-…`.
    pub fn to_text(&self) -> SecretString {
        let mut digits = Zeroizing::new(self.digits());
        let mut text = PREFIX.to_owned();
        for (place, group) in digits.chunks_exact_mut(4).enumerate() {
            text.push('-');
            for digit in group.iter() {
                text.push(char::from(ALPHABET[usize::from(*digit)]));
            }
            text.push(char::from(ALPHABET[usize::from(check(place, group))]));
        }
        text.into()
    }

    /// 51 digits and one bit of the key; the last digit's other four bits check the whole.
    fn digits(&self) -> [u8; GROUPS * 4] {
        let mut digits = [0; GROUPS * 4];
        for (place, digit) in digits.iter_mut().enumerate() {
            for bit in place * 5..place * 5 + 5 {
                *digit = *digit << 1 | self.bit(bit);
            }
        }
        digits
    }

    fn bit(&self, bit: usize) -> u8 {
        match self.0.get(bit / 8) {
            Some(byte) => byte >> (7 - bit % 8) & 1,
            None => whole_check(&self.0) >> (7 - bit % 8) & 1,
        }
    }
}

/// The last four bits: of a hash of all others.
fn whole_check(key: &[u8; 32]) -> u8 {
    let mut hasher = blake3::Hasher::new_derive_key("Backstay recovery key 1: check bits");
    hasher.update(key);
    hasher.finalize().as_bytes()[0]
}

/// A weighted sum in the field of 32 elements: finds every wrong character, every two neighbours
/// swapped, and a group in another's place.
fn check(place: usize, group: &[u8]) -> u8 {
    let mut sum = place as u8;
    for digit in group {
        sum = double(sum) ^ digit;
    }
    double(sum)
}

/// Times x, modulo x⁵ + x² + 1.
fn double(element: u8) -> u8 {
    let doubled = element << 1;
    if doubled & 0b10_0000 == 0 {
        doubled
    } else {
        doubled ^ 0b10_0101
    }
}

impl FromStr for RecoveryKey {
    type Err = RecoveryKeyError;

    /// Letter case, hyphens and spaces do not matter; O is read as 0, I and L as 1.
    fn from_str(text: &str) -> Result<Self, RecoveryKeyError> {
        let text = Zeroizing::new(text.trim().to_ascii_uppercase());
        let body = text.strip_prefix(PREFIX).ok_or(RecoveryKeyError::Prefix)?;
        let mut digits = Zeroizing::new(Vec::with_capacity(GROUPS * GROUP));
        for character in body.chars().filter(|c| *c != '-' && !c.is_whitespace()) {
            let group = digits.len() / GROUP + 1;
            digits.push(digit(character).ok_or(RecoveryKeyError::Character { group, character })?);
        }
        if digits.len() != GROUPS * GROUP {
            return Err(RecoveryKeyError::Length {
                found: digits.len(),
            });
        }
        let mut key = RecoveryKey(Zeroizing::new([0; 32]));
        let mut last = 0;
        for (place, group) in digits.chunks_exact(GROUP).enumerate() {
            if check(place, &group[..4]) != group[4] {
                return Err(RecoveryKeyError::Typo { group: place + 1 });
            }
            for (within, digit) in group[..4].iter().enumerate() {
                let start = (place * 4 + within) * 5;
                for bit in 0..5 {
                    let value = digit >> (4 - bit) & 1;
                    match key.0.get_mut((start + bit) / 8) {
                        Some(byte) => *byte |= value << (7 - (start + bit) % 8),
                        None => last |= value << (7 - (start + bit) % 8),
                    }
                }
            }
        }
        if whole_check(&key.0) & 0xf0 == last {
            Ok(key)
        } else {
            Err(RecoveryKeyError::Mixed)
        }
    }
}

fn digit(character: char) -> Option<u8> {
    let character = match character {
        'O' => '0',
        'I' | 'L' => '1',
        other => other,
    };
    let place = ALPHABET.iter().position(|c| char::from(*c) == character)?;
    Some(place as u8)
}

impl fmt::Debug for RecoveryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::ExposeSecret;
    use proptest::prelude::*;

    fn text_of(bytes: [u8; 32]) -> String {
        let key = RecoveryKey(Zeroizing::new(bytes));
        key.to_text().expose_secret().to_owned()
    }

    #[test]
    fn a_recovery_key_has_one_known_form() {
        let text = text_of([0; 32]);
        // The check characters of zeros are the groups' places times x⁵.
        assert_eq!(
            text,
            "BSRK1-00000-00005-0000A-0000F-0000M-0000H-0000Y-0000V-0000D-00008-00007-00002-000D3"
        );
    }

    proptest! {
        #[test]
        fn any_key_reads_back_however_it_is_typed(bytes: [u8; 32]) {
            let text = text_of(bytes);
            for typed in [text.clone(), text.to_lowercase(), text.replace('-', " "),
                          text.replace('0', "o").replace('1', "l")] {
                // The prefix's own digit is no part of the alphabet's mercy.
                let typed = format!("BSRK1{}", &typed[5..]);
                let read: RecoveryKey = typed.parse().unwrap();
                prop_assert_eq!(read.expose(), &bytes);
            }
        }

        #[test]
        fn any_wrong_character_is_found_and_its_group_named(
            bytes: [u8; 32], group in 0..GROUPS, within in 0..GROUP, other in 0..32usize,
        ) {
            let mut typed = text_of(bytes).into_bytes();
            let at = 6 + group * 6 + within;
            prop_assume!(typed[at] != ALPHABET[other]);
            typed[at] = ALPHABET[other];
            let error = String::from_utf8(typed).unwrap().parse::<RecoveryKey>().err();
            prop_assert_eq!(error, Some(RecoveryKeyError::Typo { group: group + 1 }));
        }

        #[test]
        fn two_neighbours_swapped_and_two_groups_swapped_are_found(
            bytes: [u8; 32], at in 0..GROUPS * 6 - 2, first in 0..GROUPS, second in 0..GROUPS,
        ) {
            let text = text_of(bytes);
            let mut typed = text.clone().into_bytes();
            typed.swap(6 + at, 7 + at);
            let typed = String::from_utf8(typed).unwrap();
            if typed.replace('-', "") != text.replace('-', "") {
                prop_assert!(typed.parse::<RecoveryKey>().is_err());
            }
            let mut groups: Vec<&str> = text.split('-').collect();
            groups.swap(first + 1, second + 1);
            let typed = groups.join("-");
            if first != second {
                prop_assert!(typed.parse::<RecoveryKey>().is_err());
            }
        }
    }

    #[test]
    fn what_is_wrong_is_said_without_repeating_the_key() {
        let text = text_of([3; 32]);
        let wrong = |text: &str| text.parse::<RecoveryKey>().err();
        assert_eq!(wrong("XX"), Some(RecoveryKeyError::Prefix));
        assert_eq!(
            wrong(&text[..80]),
            Some(RecoveryKeyError::Length { found: 62 })
        );
        let odd = text.replacen(&text[6..7], "U", 1);
        assert_eq!(
            wrong(&odd),
            Some(RecoveryKeyError::Character {
                group: 1,
                character: 'U'
            })
        );
        assert!(!format!("{:?}", text.parse::<RecoveryKey>().unwrap()).contains(&text[6..11]));
    }
}
