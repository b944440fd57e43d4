//! `.netrc`: logins for files by URL, as curl and ftp read them (`machine NAME login USER password PASSWORD`, `default`).

use std::path::PathBuf;

use super::credentials::Environment;
use super::secret::{Login, Secret};
use crate::fs;

/// The logins of one file, in its order.
#[derive(Debug, Default)]
pub struct Netrc {
    path: PathBuf,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    /// `None`: `default`.
    machine: Option<String>,
    login: Login,
}

impl Netrc {
    /// Reads `$NETRC`, or `~/.netrc`; without a file there are no logins.
    pub fn read(environment: &Environment) -> Result<Self, fs::Error> {
        let Some(path) = environment.netrc.clone().or_else(|| environment.home.as_ref().map(|home| home.join(".netrc"))) else {
            return Ok(Self::default());
        };
        match fs::read_to_string(&path, 1 << 20) {
            Ok(text) => Ok(Self { entries: parse(&text), path }),
            Err(error) if error.is_not_found() => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// The login for a host: `HOST:PORT` before `HOST` before `default`; the first entry of a kind counts.
    pub fn find(&self, host: &str, port: Option<u16>) -> Option<&Login> {
        let with_port = port.map(|port| format!("{host}:{port}"));
        let named = |name: Option<&str>| self.entries.iter().find(|entry| entry.machine.as_deref() == name).map(|entry| &entry.login);
        with_port.and_then(|name| named(Some(&name))).or_else(|| named(Some(host))).or_else(|| named(None))
    }

    /// The file, for messages.
    pub fn path(&self) -> String {
        self.path.display().to_string()
    }
}

fn parse(text: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut current: Option<(Option<String>, Option<String>, Option<String>)> = None;
    let mut words = words_of(text).into_iter();
    let mut finish = |entry: Option<(Option<String>, Option<String>, Option<String>)>| {
        if let Some((machine, user, Some(password))) = entry {
            let login = Login::Password { user: user.unwrap_or_default(), password: Secret::new(password) };
            entries.push(Entry { machine, login });
        }
    };
    while let Some(word) = words.next() {
        match word.as_str() {
            "machine" => finish(current.replace((words.next(), None, None))),
            "default" => finish(current.replace((None, None, None))),
            "login" | "password" | "account" => {
                let value = words.next();
                match (&mut current, word.as_str()) {
                    (Some((_, user, _)), "login") => *user = value,
                    (Some((_, _, password)), "password") => *password = value,
                    _ => {}
                }
            }
            _ => {}
        }
    }
    finish(current);
    entries
}

/// Words between white space, without comments and macros; a word in double quotes may have spaces, `\"` and `\\` in it (curl).
fn words_of(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut in_macro = false;
    for line in text.lines() {
        let trimmed = line.trim();
        if in_macro {
            in_macro = !trimmed.is_empty();
            continue;
        }
        let mut rest = trimmed;
        while let Some(first) = rest.chars().next() {
            let previous_takes_any = words.last().is_some_and(|word| word == "password" || word == "login");
            if first == '#' && !previous_takes_any {
                break;
            }
            let (word, after) = if let Some(quoted) = rest.strip_prefix('"') { quoted_word(quoted) } else { plain_word(rest) };
            if word == "macdef" {
                in_macro = true;
                break;
            }
            words.push(word);
            rest = after.trim_start();
        }
    }
    words
}

fn plain_word(text: &str) -> (String, &str) {
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    (text[..end].to_owned(), &text[end..])
}

fn quoted_word(text: &str) -> (String, &str) {
    let mut word = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (word, &text[at + 1..]),
            '\\' => word.extend(characters.next().map(|(_, escaped)| escaped)),
            other => word.push(other),
        }
    }
    (word, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_exact_machine_counts() {
        let text = "# mine\nmachine files.example login a password 1\nmachine files.example:8443\n  login b\n  password \"2 \\\" #\"\n\
                    macdef init\n machine no login no password no\n\nmachine only-a-name login c\ndefault login d password #secret\n";
        let netrc = Netrc { path: PathBuf::new(), entries: parse(text) };
        let found = |host: &str, port| match netrc.find(host, port) {
            Some(Login::Password { user, password }) => format!("{user} {}", password.reveal()),
            _ => String::new(),
        };
        assert_eq!(found("files.example", None), "a 1");
        assert_eq!(found("files.example", Some(443)), "a 1");
        assert_eq!(found("files.example", Some(8443)), "b 2 \" #");
        assert_eq!(found("only-a-name", None), "d #secret");
        assert_eq!(found("no", None), "d #secret");
        assert!(!format!("{netrc:?}").contains("#secret"));
    }
}
