//! What people, things and opinions are called.

use super::dice::Dice;

const FIRST: [&str; 24] = [
    "Ada", "Björn", "Chiara", "Daniel", "Elif", "Farid", "Grace", "Hana", "Ines", "Jakob", "Katya",
    "Linus", "Maya", "Noor", "Oskar", "Priya", "Quentin", "Rosa", "Søren", "Tomás", "Ulla",
    "Vikram", "Wanda", "Yuki",
];
const LAST: [&str; 24] = [
    "Abel",
    "Becker",
    "Costa",
    "Dumont",
    "Eriksen",
    "Fischer",
    "García",
    "Hoffmann",
    "Ivanova",
    "Jansen",
    "Kowalski",
    "Lindqvist",
    "Müller",
    "Novak",
    "Okafor",
    "Petrov",
    "Quist",
    "Rossi",
    "Singh",
    "Tanaka",
    "Ueda",
    "Vogel",
    "Weber",
    "Yılmaz",
];
const STREETS: [&str; 10] = [
    "Harbour Road",
    "Lindenallee",
    "Rue du Port",
    "Calle Mayor",
    "Station Street",
    "Kirchweg",
    "Mill Lane",
    "Via Roma",
    "Bergstraße",
    "Quay Street",
];
const PLACES: [(&str, &str, &str); 10] = [
    ("20457", "Hamburg", "DE"),
    ("75011", "Paris", "FR"),
    ("28013", "Madrid", "ES"),
    ("1012", "Amsterdam", "NL"),
    ("8001", "Zürich", "CH"),
    ("00184", "Roma", "IT"),
    ("1050", "København", "DK"),
    ("EH1 1YZ", "Edinburgh", "GB"),
    ("1010", "Wien", "AT"),
    ("00-001", "Warszawa", "PL"),
];
const QUALITIES: [&str; 16] = [
    "light",
    "sturdy",
    "folding",
    "waterproof",
    "quiet",
    "heavy",
    "compact",
    "classic",
    "bright",
    "woven",
    "brass",
    "oiled",
    "padded",
    "narrow",
    "double",
    "spare",
];
const THINGS: [(&str, &str); 16] = [
    ("rope", "rigging"),
    ("shackle", "rigging"),
    ("block", "rigging"),
    ("winch handle", "rigging"),
    ("lantern", "light"),
    ("torch", "light"),
    ("head lamp", "light"),
    ("jacket", "clothing"),
    ("gloves", "clothing"),
    ("boots", "clothing"),
    ("knife", "tools"),
    ("marlinspike", "tools"),
    ("compass", "navigation"),
    ("chart", "navigation"),
    ("kettle", "galley"),
    ("enamel mug", "galley"),
];
const SENTENCES: [&str; 20] = [
    "It came in two days and was packed well.",
    "The seams hold, even after a season in salt water.",
    "Made of one piece, without a weld.",
    "I would buy it again, and gave one to my brother.",
    "The colour is darker than in the picture.",
    "Fits into every locker that we have on board.",
    "After three months it shows no sign of wear.",
    "The handle could be longer for large hands.",
    "Comes with a spare part and a short manual.",
    "It is heavier than it looks, which is a good thing here.",
    "We used it in a gale off Skagen and nothing moved.",
    "Please ring twice and leave it with the neighbour.",
    "Rinse it with fresh water after each trip.",
    "The coating is free of solvents and can be renewed.",
    "One screw was missing, but the service sent it at once.",
    "Tested to twice the load that is printed on it.",
    "Not the cheapest one, but the last one that you need.",
    "The zip is the weak point and should be greased.",
    "Keeps its shape when wet and dries in an hour.",
    "A little smaller than the one that I had before.",
];

pub(super) fn person(dice: &mut Dice) -> String {
    format!("{} {}", dice.pick(&FIRST), dice.pick(&LAST))
}

pub(super) fn street(dice: &mut Dice) -> String {
    format!("{} {}", dice.pick(&STREETS), 1 + dice.below(180))
}

/// Postcode, city, country.
pub(super) fn place(dice: &mut Dice) -> (&'static str, &'static str, &'static str) {
    dice.pick(&PLACES)
}

/// Name and category.
pub(super) fn product(dice: &mut Dice) -> (String, &'static str) {
    let (thing, category) = dice.pick(&THINGS);
    let name = format!(
        "{} {} {thing} No. {}",
        dice.pick(&QUALITIES),
        dice.pick(&QUALITIES),
        dice.below(900)
    );
    (name, category)
}

/// A review's title.
pub(super) fn verdict(dice: &mut Dice, rating: i64) -> &'static str {
    match rating {
        5 => dice.pick(&["Excellent", "Just right", "As good as they say"]),
        4 => dice.pick(&["Good", "Does its work", "Almost perfect"]),
        3 => dice.pick(&["Fair", "It will do", "Neither good nor bad"]),
        _ => dice.pick(&["Not again", "Sent back", "Disappointing"]),
    }
}

/// That many sentences.
pub(super) fn text(dice: &mut Dice, sentences: usize) -> String {
    let mut text = String::new();
    for _ in 0..sentences {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(dice.pick(&SENTENCES));
    }
    text
}
