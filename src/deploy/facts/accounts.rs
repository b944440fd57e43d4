//! Users and groups of the node (or of the directory that will be one), by its own passwd and group files.

use std::collections::BTreeMap;

/// Names and their numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Accounts {
    users: BTreeMap<String, u32>,
    groups: BTreeMap<String, u32>,
}

impl Accounts {
    /// Reads passwd(5) and group(5); a line that is neither is passed over, as libc does.
    #[must_use]
    pub fn parse(passwd: &str, group: &str) -> Self {
        let numbers = |text: &str| {
            let line = |line: &str| {
                let mut parts = line.split(':');
                Some((parts.next()?.to_owned(), parts.nth(1)?.parse().ok()?))
            };
            text.lines().filter_map(line).collect()
        };
        Self { users: numbers(passwd), groups: numbers(group) }
    }

    /// The number of a user, by name or number.
    #[must_use]
    pub fn user(&self, text: &str) -> Option<u32> {
        find(&self.users, text)
    }

    /// The number of a group, by name or number.
    #[must_use]
    pub fn group(&self, text: &str) -> Option<u32> {
        find(&self.groups, text)
    }
}

fn find(names: &BTreeMap<String, u32>, text: &str) -> Option<u32> {
    // `root` is 0 everywhere, also in a directory that has no passwd yet.
    names.get(text).copied().or_else(|| (text == "root").then_some(0)).or_else(|| text.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_resolved() {
        let accounts = Accounts::parse("root:x:0:0::/:/bin/sh\nbad\netcd:x:52:53::/:/bin/sh\n", "etcd:x:53:\n");
        assert_eq!((accounts.user("etcd"), accounts.group("etcd")), (Some(52), Some(53)));
        assert_eq!((accounts.user("7"), accounts.user("nobody"), Accounts::default().group("root")), (Some(7), None, Some(0)));
    }
}
