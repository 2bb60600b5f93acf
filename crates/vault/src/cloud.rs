//! Stores that are reached over the net: S3, Azure Blob Storage, Google Cloud Storage.
//!
//! Each is one of object_store's own, told little: where it is, who we are, how patient to be.
//! Whoever signs is named in the options, or is the server's machine itself where `credentials` is
//! `server`; never by accident, because a vault in a wrong account is found too late. What is not
//! compiled in (the crate's features) is refused by name.

use std::collections::BTreeMap;
use std::sync::Arc;
#[cfg(any(feature = "aws", feature = "azure", feature = "gcp"))]
use std::time::Duration;

use model::StoreKind;
use object_store::ObjectStore;
use object_store::path::Path;
#[cfg(any(feature = "aws", feature = "azure", feature = "gcp"))]
use object_store::{BackoffConfig, ClientOptions, RetryConfig};
use url::{Host, Url};

use crate::VaultError;

/// One request, with its body. The vault's own limits are shorter for small objects.
#[cfg(any(feature = "aws", feature = "azure", feature = "gcp"))]
const REQUEST: Duration = Duration::from_secs(300);
#[cfg(any(feature = "aws", feature = "azure", feature = "gcp"))]
const CONNECT: Duration = Duration::from_secs(5);

/// Opens the store of a vault's URL. Nothing is asked of it yet.
///
/// # Errors
/// When the URL or an option is wrong or missing, or this kind of store is not compiled in.
pub(crate) fn open(
    kind: StoreKind,
    url: &str,
    options: &BTreeMap<String, String>,
) -> Result<(Arc<dyn ObjectStore>, Path), VaultError> {
    let place = Place::parse(url)?;
    let settings = Settings {
        place: &place,
        kind,
        options,
    };
    settings.are_known()?;
    let store = match kind {
        StoreKind::S3 => s3(&settings)?,
        StoreKind::Azure => azure(&settings)?,
        StoreKind::Google => google(&settings)?,
        StoreKind::Local => return Err(place.wrong("it is a local directory")),
    };
    Ok((store, place.prefix))
}

/// A bucket or container, and where in it.
struct Place {
    /// For errors: the URL without what does not belong into it.
    shown: String,
    #[cfg_attr(
        not(any(feature = "aws", feature = "azure", feature = "gcp")),
        expect(dead_code, reason = "without a store nobody asks")
    )]
    bucket: String,
    prefix: Path,
}

impl Place {
    fn parse(url: &str) -> Result<Place, VaultError> {
        let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
        let wrong = |why: &str| VaultError::Location {
            // Whatever stands there may be a secret.
            url: format!("{scheme}://…"),
            why: why.to_owned(),
        };
        let parsed = Url::parse(url).map_err(|e| wrong(&format!("it is no URL ({e})")))?;
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err(wrong(
                "a key does not belong into the URL; give it as an option",
            ));
        }
        if parsed.query().is_some() || parsed.fragment().is_some() || parsed.port().is_some() {
            return Err(wrong(
                "it is a bucket and a path, without a port, ? and #; a server of your own is the option endpoint",
            ));
        }
        let bucket = match parsed.host_str() {
            Some(bucket) if !bucket.is_empty() => bucket.to_owned(),
            _ => {
                return Err(wrong(&format!(
                    "it names no bucket, as {scheme}://bucket/shop"
                )));
            }
        };
        let prefix = Path::from_url_path(parsed.path().trim_matches('/'))
            .map_err(|e| wrong(&format!("its path cannot be ({e})")))?;
        Ok(Place {
            shown: url.to_owned(),
            bucket,
            prefix,
        })
    }

    fn wrong(&self, why: impl Into<String>) -> VaultError {
        VaultError::Location {
            url: self.shown.clone(),
            why: why.into(),
        }
    }
}

/// What a store is told.
struct Settings<'a> {
    place: &'a Place,
    kind: StoreKind,
    options: &'a BTreeMap<String, String>,
}

#[cfg_attr(
    not(all(feature = "aws", feature = "azure", feature = "gcp")),
    allow(dead_code, reason = "each store asks for some of it")
)]
impl Settings<'_> {
    fn wrong(&self, why: impl Into<String>) -> VaultError {
        self.place.wrong(why)
    }

    fn are_known(&self) -> Result<(), VaultError> {
        match self
            .options
            .keys()
            .find(|name| self.kind.option(name).is_none())
        {
            None => Ok(()),
            Some(name) => {
                let known: Vec<_> = self.kind.options().iter().map(|o| o.name).collect();
                Err(self.wrong(format!(
                    "the option {name:?} is not known; there are {}",
                    known.join(", ")
                )))
            }
        }
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str)
    }

    fn required(&self, name: &str) -> Result<&str, VaultError> {
        self.get(name)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| self.wrong(format!("it needs the option {name}")))
    }

    /// Whether the machine's own identity signs. If not, those options must say who does; if so,
    /// they must not.
    fn server_signs(&self, names: &[&str]) -> Result<bool, VaultError> {
        let given = names.iter().find(|name| self.get(name).is_some());
        match (self.get("credentials"), given) {
            (None, Some(_)) => Ok(false),
            (None, None) => Err(self.wrong(format!(
                "it says nobody who may write there: give {}, or credentials = server for the identity of the server's machine",
                names.join(" and ")
            ))),
            (Some("server"), None) => Ok(true),
            (Some("server"), Some(name)) => Err(self.wrong(format!(
                "credentials = server and {name} exclude each other"
            ))),
            (Some(_), _) => Err(self.wrong("the option credentials can only be server")),
        }
    }

    fn flag(&self, name: &str, default: bool) -> Result<bool, VaultError> {
        match self.get(name) {
            None => Ok(default),
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            Some(_) => Err(self.wrong(format!("the option {name} must be true or false"))),
        }
    }

    /// The server to ask instead of the provider's own.
    fn endpoint(&self) -> Result<Option<Endpoint>, VaultError> {
        let Some(text) = self.get("endpoint") else {
            return Ok(None);
        };
        let wrong = |why: &str| self.wrong(format!("the option endpoint {why}"));
        let url =
            Url::parse(text).map_err(|_| wrong("must be a URL, as https://s3.example.net"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("must hold no user and no password"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("must have no ? and no #"));
        }
        match url.scheme() {
            "https" => {}
            "http" if is_loopback(&url) => {}
            "http" => {
                return Err(wrong(
                    "must be https: over plain http others on the way could change and keep what is sent; only this machine itself may be asked so",
                ));
            }
            _ => return Err(wrong("must begin with https://")),
        }
        Ok(Some(Endpoint { url }))
    }

    /// What a builder of object_store says, unless it repeats a secret.
    fn refused(&self, error: &object_store::Error) -> VaultError {
        let text = error.to_string();
        let mut secrets = self.options.iter().filter(|(name, value)| {
            let secret = self.kind.option(name).is_some_and(|option| option.secret);
            secret && text.contains(value.as_str())
        });
        match secrets.next() {
            Some((name, _)) => self.wrong(format!("the option {name} cannot be used")),
            None => self.wrong(text),
        }
    }
}

struct Endpoint {
    url: Url,
}

#[cfg_attr(
    not(any(feature = "aws", feature = "azure", feature = "gcp")),
    expect(dead_code, reason = "without a store nobody asks")
)]
impl Endpoint {
    fn is_plain(&self) -> bool {
        self.url.scheme() == "http"
    }

    fn text(&self) -> &str {
        self.url.as_str().trim_end_matches('/')
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// The vault tries again by itself, with pauses that grow; what is tried here only bridges
/// moments, so that the reason of a failure arrives before the vault's own time limit does.
#[cfg(any(feature = "aws", feature = "azure", feature = "gcp"))]
fn retries() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(200),
            max_backoff: Duration::from_secs(2),
            base: 2.0,
        },
        max_retries: 2,
        retry_timeout: Duration::from_secs(20),
    }
}

#[cfg(any(feature = "aws", feature = "azure", feature = "gcp"))]
fn client(endpoint: Option<&Endpoint>) -> ClientOptions {
    ClientOptions::new()
        .with_allow_http(endpoint.is_some_and(Endpoint::is_plain))
        .with_timeout(REQUEST)
        .with_connect_timeout(CONNECT)
}

#[cfg(feature = "aws")]
fn s3(settings: &Settings<'_>) -> Result<Arc<dyn ObjectStore>, VaultError> {
    use object_store::aws::{AmazonS3Builder, S3ConditionalPut};

    let bucket = &settings.place.bucket;
    let endpoint = settings.endpoint()?;
    let mut builder = if settings.server_signs(&["access_key_id", "secret_access_key"])? {
        AmazonS3Builder::from_env()
    } else {
        let builder = AmazonS3Builder::new()
            .with_access_key_id(settings.required("access_key_id")?)
            .with_secret_access_key(settings.required("secret_access_key")?);
        match settings.get("session_token") {
            Some(token) => builder.with_token(token),
            None => builder,
        }
    };
    match (settings.get("region"), &endpoint) {
        (Some(region), _) => builder = builder.with_region(region),
        // Servers of one's own rarely have regions, and whoever signs must name one all the same.
        (None, Some(_)) => builder = builder.with_region("us-east-1"),
        (None, None) if settings.get("credentials").is_some() => {}
        (None, None) => return Err(settings.wrong("it needs the option region, as eu-central-1")),
    }
    // A bucket with a dot in its name fits no certificate of its provider.
    let path_style = settings.flag("path_style", endpoint.is_some() || bucket.contains('.'))?;
    if let Some(endpoint) = &endpoint {
        builder = builder.with_endpoint(match path_style {
            true => endpoint.text().to_owned(),
            false => host_of_bucket(endpoint, bucket).ok_or_else(|| {
                settings.wrong("a bucket in front of an address: leave path_style out")
            })?,
        });
    }
    let store = builder
        .with_bucket_name(bucket)
        .with_virtual_hosted_style_request(!path_style)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        // One object is deleted at a time, and fewer servers know how to delete many.
        .with_disable_bulk_delete(true)
        .with_retry(retries())
        .with_client_options(client(endpoint.as_ref()))
        .build()
        .map_err(|error| settings.refused(&error))?;
    Ok(Arc::new(store))
}

/// `https://bucket.host`; none where the host is an address.
#[cfg(feature = "aws")]
fn host_of_bucket(endpoint: &Endpoint, bucket: &str) -> Option<String> {
    let Some(Host::Domain(host)) = endpoint.url.host() else {
        return None;
    };
    let mut url = endpoint.url.clone();
    url.set_host(Some(&format!("{bucket}.{host}"))).ok()?;
    Some(url.as_str().trim_end_matches('/').to_owned())
}

#[cfg(feature = "azure")]
fn azure(settings: &Settings<'_>) -> Result<Arc<dyn ObjectStore>, VaultError> {
    use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};

    let ways = ["access_key", "sas_token", "client_secret"];
    let mut builder = if settings.server_signs(&ways)? {
        MicrosoftAzureBuilder::from_env()
    } else {
        MicrosoftAzureBuilder::new()
    };
    match ways.map(|way| settings.get(way)) {
        [None, None, None] => {}
        [Some(key), None, None] => builder = builder.with_access_key(key),
        [None, Some(token), None] => builder = builder.with_config(AzureConfigKey::SasKey, token),
        [None, None, Some(secret)] => {
            builder = builder.with_client_secret_authorization(
                settings.required("client_id")?,
                secret,
                settings.required("tenant_id")?,
            );
        }
        _ => return Err(settings.wrong(format!("give only one of {}", ways.join(", ")))),
    }
    let endpoint = settings.endpoint()?;
    if let Some(endpoint) = &endpoint {
        builder = builder.with_endpoint(endpoint.text().to_owned());
    }
    let store = builder
        .with_account(settings.required("account")?)
        .with_container_name(&settings.place.bucket)
        .with_retry(retries())
        .with_client_options(client(endpoint.as_ref()))
        .build()
        .map_err(|error| settings.refused(&error))?;
    Ok(Arc::new(store))
}

#[cfg(feature = "gcp")]
fn google(settings: &Settings<'_>) -> Result<Arc<dyn ObjectStore>, VaultError> {
    use object_store::gcp::GoogleCloudStorageBuilder;

    let mut builder = if settings.server_signs(&["service_account_key"])? {
        GoogleCloudStorageBuilder::from_env()
    } else {
        let key = settings.required("service_account_key")?;
        // Looked at here: what the library says of a key may repeat a part of it.
        let parsed: Result<BTreeMap<String, serde_json::Value>, _> = serde_json::from_str(key);
        let whole = |key: BTreeMap<String, serde_json::Value>| {
            ["client_email", "private_key"]
                .iter()
                .all(|name| key[*name].is_string())
        };
        if !parsed.is_ok_and(|key| {
            key.contains_key("client_email") && key.contains_key("private_key") && whole(key)
        }) {
            return Err(settings.wrong(
                "the option service_account_key must be the JSON of a key, with client_email and private_key",
            ));
        }
        GoogleCloudStorageBuilder::new().with_service_account_key(key)
    };
    let endpoint = settings.endpoint()?;
    if let Some(endpoint) = &endpoint {
        builder = builder.with_base_url(endpoint.text());
    }
    let store = builder
        .with_bucket_name(&settings.place.bucket)
        .with_retry(retries())
        .with_client_options(client(endpoint.as_ref()))
        .build()
        .map_err(|error| settings.refused(&error))?;
    Ok(Arc::new(store))
}

#[cfg(not(feature = "aws"))]
fn s3(settings: &Settings<'_>) -> Result<Arc<dyn ObjectStore>, VaultError> {
    Err(not_compiled_in(settings, "S3", "aws"))
}

#[cfg(not(feature = "azure"))]
fn azure(settings: &Settings<'_>) -> Result<Arc<dyn ObjectStore>, VaultError> {
    Err(not_compiled_in(settings, "Azure", "azure"))
}

#[cfg(not(feature = "gcp"))]
fn google(settings: &Settings<'_>) -> Result<Arc<dyn ObjectStore>, VaultError> {
    Err(not_compiled_in(settings, "Google Cloud", "gcp"))
}

#[cfg(not(all(feature = "aws", feature = "azure", feature = "gcp")))]
fn not_compiled_in(settings: &Settings<'_>, what: &str, feature: &str) -> VaultError {
    settings.wrong(format!(
        "this program was built without {what} stores; build it with the feature {feature} of the crate vault"
    ))
}

#[cfg(all(test, feature = "aws", feature = "azure", feature = "gcp"))]
mod tests;
