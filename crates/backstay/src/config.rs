//! `backstay.toml` < `BACKSTAY_*` < flags.
//!
//! Flags and environment come from clap as one `Option` each; what is still absent is taken from
//! the file. The file holds no secret, only the names of files that do; a key that we do not know
//! is an error with its line and column, never ignored.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::output::Format;

/// The file's name in a working directory and below `$XDG_CONFIG_HOME/backstay`.
pub const FILE_NAME: &str = "backstay.toml";

/// Why a configuration file was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It was named and cannot be read.
    #[error("cannot read the configuration {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is not TOML, or says something that Backstay does not know.
    #[error("{}:{line}:{column}: {message}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// What is wrong there, and what is known.
        message: String,
    },
}

/// What a configuration file may say.
#[derive(Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct FileConfig {
    /// The server's URL, for the client's commands.
    pub server: Option<String>,
    /// A file that holds the token.
    pub token_file: Option<PathBuf>,
    /// How answers are shown.
    pub output: Option<Format>,
    /// What `backstay serve` does.
    #[serde(default)]
    pub serve: ServeConfig,
}

/// The table `[serve]`.
#[derive(Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct ServeConfig {
    /// Where the catalog and the master key are.
    pub data_dir: Option<PathBuf>,
    /// `ADDR:PORT`.
    pub listen: Option<String>,
    /// Plain http on an address that others can reach.
    pub insecure_http: Option<bool>,
    /// Directories that are searched first for `pg_dump` and `pg_restore`.
    pub pg_bin: Option<Vec<PathBuf>>,
    /// How many executions run at once, over all sites.
    pub parallel_executions: Option<usize>,
    /// What is logged, as `info` or `info,jobs=debug`.
    pub log: Option<String>,
    /// `text` or `json`.
    pub log_format: Option<LogFormat>,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl FileConfig {
    /// The file that `given` names; without it the first that exists of `./backstay.toml` and
    /// `$XDG_CONFIG_HOME/backstay/backstay.toml`; without one, nothing is configured.
    ///
    /// # Errors
    /// When a file is there and cannot be read or understood.
    pub fn load(given: Option<&Path>) -> Result<FileConfig, ConfigError> {
        let found = match given {
            Some(path) => Some(path.to_owned()),
            None => places().into_iter().find(|path| path.exists()),
        };
        match found {
            Some(path) => FileConfig::read(&path),
            None => Ok(FileConfig::default()),
        }
    }

    fn read(path: &Path) -> Result<FileConfig, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        let mut config = FileConfig::parse(&text, path)?;
        config.paths_from(path.parent().unwrap_or(Path::new("")));
        Ok(config)
    }

    fn parse(text: &str, path: &Path) -> Result<FileConfig, ConfigError> {
        toml::from_str(text).map_err(|error: toml::de::Error| {
            let at = error.span().map_or(0, |span| span.start);
            let (line, column) = line_and_column(text, at);
            ConfigError::Wrong {
                path: path.to_owned(),
                line,
                column,
                message: error.message().to_owned(),
            }
        })
    }

    /// Relative paths mean the same wherever the program is started: they are seen from the file.
    fn paths_from(&mut self, folder: &Path) {
        for path in [&mut self.token_file, &mut self.serve.data_dir]
            .into_iter()
            .flatten()
        {
            *path = folder.join(&*path);
        }
        for path in self.serve.pg_bin.iter_mut().flatten() {
            *path = folder.join(&*path);
        }
    }
}

fn places() -> Vec<PathBuf> {
    let mut places = vec![PathBuf::from(FILE_NAME)];
    let home = std::env::var_os("XDG_CONFIG_HOME")
        .filter(|home| !home.is_empty())
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".config")));
    places.extend(home.map(|home| home.join("backstay").join(FILE_NAME)));
    places
}

fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (
        before.matches('\n').count() + 1,
        before[line_start..].chars().count() + 1,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_refused_with_its_place_and_the_known_ones() {
        let text = "server = \"http://localhost:1\"\n\n[serve]\n  listne = \"[::]:1\"\n";
        let error = FileConfig::parse(text, Path::new("b.toml"))
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("b.toml:4:3: unknown field `listne`"),
            "{error}"
        );
        assert!(error.contains("`listen`"), "{error}");
    }

    #[test]
    fn a_value_of_the_wrong_kind_is_refused_with_its_place() {
        let error = FileConfig::parse("output = \"xml\"\n", Path::new("b.toml")).unwrap_err();
        assert!(error.to_string().starts_with("b.toml:1:10: "), "{error}");
    }

    #[test]
    fn a_file_may_say_everything_and_nothing() {
        let empty = FileConfig::parse("", Path::new("b.toml")).unwrap();
        assert_eq!(empty, FileConfig::default());
        let text = r#"
            server = "https://backup.example"
            token_file = "token"
            output = "json"
            [serve]
            data_dir = "data"
            listen = "127.0.0.1:0"
            insecure_http = false
            pg_bin = ["pg", "/abs"]
            parallel_executions = 3
            log = "debug"
            log_format = "json"
        "#;
        let mut full = FileConfig::parse(text, Path::new("b.toml")).unwrap();
        full.paths_from(Path::new("/etc/backstay"));
        assert_eq!(full.token_file.unwrap(), Path::new("/etc/backstay/token"));
        assert_eq!(
            full.serve.data_dir.unwrap(),
            Path::new("/etc/backstay/data")
        );
        assert_eq!(full.serve.pg_bin.unwrap()[1], Path::new("/abs"));
        assert_eq!(full.serve.log_format, Some(LogFormat::Json));
    }
}
