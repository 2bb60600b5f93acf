//! The schemas of the requests and what the parsers know are two lists of the same names: here
//! they are held against each other.

use std::collections::BTreeSet;

use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;
use utoipa::{PartialSchema, ToSchema};

use crate::{
    AdoptRequest, Exclusion, Job, JobObject, JobRequest, JobSettings, ListedJob,
    RestoreJobSettings, RestoreRequest, Site, SiteRequest, TargetSiteDetails,
};
use crate::{adoption, job_parsing, objects, restores, sites};

fn properties<T: PartialSchema>() -> BTreeSet<String> {
    let schema = match T::schema() {
        RefOr::T(schema) => schema,
        RefOr::Ref(_) => panic!("a schema must not be a reference"),
    };
    let mut names = BTreeSet::new();
    collect(&schema, &mut names);
    names
}

fn collect(schema: &Schema, names: &mut BTreeSet<String>) {
    match schema {
        Schema::Object(object) => names.extend(object.properties.keys().cloned()),
        Schema::AllOf(all) => {
            for item in &all.items {
                if let RefOr::T(schema) = item {
                    collect(schema, names);
                }
            }
        }
        _ => {}
    }
}

fn names(lists: &[&[&str]]) -> BTreeSet<String> {
    let all = lists.iter().flat_map(|list| list.iter());
    // The second spelling is accepted, and not in the schema.
    all.filter(|name| **name != "skip_statistics")
        .map(|name| (*name).to_owned())
        .collect()
}

#[test]
fn a_request_s_schema_has_the_fields_that_its_parser_knows() {
    assert_eq!(properties::<SiteRequest>(), names(&[sites::KNOWN]));
    assert_eq!(properties::<AdoptRequest>(), names(&[adoption::KNOWN]));
    assert_eq!(properties::<JobRequest>(), names(&[job_parsing::KNOWN]));
    assert_eq!(properties::<JobSettings>(), names(&[job_parsing::SETTINGS]));
    assert_eq!(
        properties::<TargetSiteDetails>(),
        names(&[job_parsing::TARGET])
    );
    assert_eq!(properties::<JobObject>(), names(&[objects::OBJECT_FIELDS]));
    assert_eq!(
        properties::<Exclusion>(),
        names(&[objects::EXCLUSION_FIELDS])
    );
    assert_eq!(properties::<RestoreRequest>(), names(&[restores::KNOWN]));
    assert_eq!(
        properties::<RestoreJobSettings>(),
        names(&[restores::SETTINGS])
    );
}

#[test]
fn a_put_knows_or_ignores_every_field_that_a_get_gives() {
    let mut job = properties::<Job>();
    job.extend(properties::<ListedJob>());
    assert_eq!(job, names(&[job_parsing::KNOWN, job_parsing::READ_ONLY]));
    assert_eq!(
        properties::<Site>(),
        names(&[sites::KNOWN, sites::READ_ONLY])
    );
    assert_eq!(Job::name(), "Job");
}
