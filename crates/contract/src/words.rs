//! The closed sets of words, as schemas: listed from `model`'s enums, so that the document cannot
//! fall behind them.

use model::{
    ChangedBlocksSource, ExecutionStatus, JobType, ObjectType, PreparationStatus, RunType, SiteType,
};
use strum::IntoEnumIterator;
use utoipa::openapi::schema::{Object, ObjectBuilder, SchemaType, Type};

/// The words of an enum, in the order of their definition.
pub(crate) fn all<T: IntoEnumIterator + std::fmt::Display>() -> Vec<String> {
    T::iter().map(|word| word.to_string()).collect()
}

fn words(words: Vec<String>, nullable: bool, text: &str) -> Object {
    let kind = if nullable {
        SchemaType::Array(vec![Type::String, Type::Null])
    } else {
        SchemaType::Type(Type::String)
    };
    let values: Vec<Option<String>> = words
        .into_iter()
        .map(Some)
        .chain(nullable.then_some(None))
        .collect();
    ObjectBuilder::new()
        .schema_type(kind)
        .description(Some(text))
        .enum_values(Some(values))
        .build()
}

macro_rules! word_schemas {
    ($($name:ident: $type:ty, $nullable:literal, $text:literal;)*) => {
        $(pub(crate) fn $name() -> Object { words(all::<$type>(), $nullable, $text) })*
    };
}

word_schemas! {
    status: ExecutionStatus, false, "What the execution is.";
    job_type: JobType, false, "Makes savesets, or brings one back.";
    run_type: RunType, false, "Everything is read, or only what changed.";
    run_type_or_null: RunType, true, "What the execution became; null while nobody knows.";
    preparation_status: PreparationStatus, false, "How far the preparation is.";
    site_type: SiteType, false, "The kind of the site's database system.";
    object_type: ObjectType, false, "What kind of object the name means.";
    object_type_or_null: ObjectType, true, "The type of what it is in.";
}

fn ways_of_finding(nullable: bool) -> Object {
    let ways = [ChangedBlocksSource::WalSummary, ChangedBlocksSource::Hash];
    words(
        ways.map(|way| way.to_string()).to_vec(),
        nullable,
        "How changed blocks were found: told by PostgreSQL's WAL summaries, or by comparing hashes.",
    )
}

pub(crate) fn changed_blocks_source() -> Object {
    ways_of_finding(false)
}

pub(crate) fn changed_blocks_source_or_null() -> Object {
    ways_of_finding(true)
}

pub(crate) fn mechanism() -> Object {
    words(
        vec!["DSA".to_owned()],
        false,
        "How data leaves the database: objects are streamed in parallel out of it.",
    )
}

pub(crate) fn phase() -> Object {
    words(
        all::<model::Phase>(),
        false,
        "DICTIONARY and DATA; a restore adds BUILD and POSTSCRIPT.",
    )
}

pub(crate) fn phase_status() -> Object {
    let words_of_phase = ["RUNNING", "SUCCESSFUL", "FAILED", "ABORTED"].map(str::to_owned);
    words(words_of_phase.to_vec(), false, "How far the phase is.")
}

pub(crate) fn site_target_type() -> Object {
    let places = ["AWS", "AZURE", "GCP", "LOCAL"].map(str::to_owned);
    words(places.to_vec(), false, "Where the site's vault is.")
}

/// The method of verification that there is.
pub const READ_ONLY: &str = "READ_ONLY";

pub(crate) fn verification_method() -> Object {
    let text = "Every byte is read, and its seal opened.";
    words(vec![READ_ONLY.to_owned()], true, text)
}

pub(crate) fn verification_status() -> Object {
    let statuses = ["QUEUED", "RUNNING", "SUCCESSFUL", "FAILED", "ABORTED"].map(str::to_owned);
    words(
        statuses.to_vec(),
        false,
        "FAILED: something is damaged. ABORTED: it did not come to its end, nothing is known.",
    )
}

pub(crate) fn concerned_kind() -> Object {
    let kinds = ["SAVESET", "DICTIONARY", "ROWS"].map(str::to_owned);
    words(
        kinds.to_vec(),
        false,
        "All of it, a part of the dictionary, or rows of a table.",
    )
}

/// A moment that may be null.
pub(crate) fn moment_or_null() -> Object {
    moment_object(true)
}

/// A moment.
pub(crate) fn moment() -> Object {
    moment_object(false)
}

fn moment_object(nullable: bool) -> Object {
    let kind = if nullable {
        SchemaType::Array(vec![Type::String, Type::Null])
    } else {
        SchemaType::Type(Type::String)
    };
    ObjectBuilder::new()
        .schema_type(kind)
        .description(Some("RFC 3339 in UTC, with microseconds and Z."))
        .pattern(Some(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$"))
        .build()
}
