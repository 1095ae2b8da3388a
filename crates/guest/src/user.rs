//! Running the job as another user than the agent.
//!
//! The agent itself has no such option; what works is a bootstrap script that steps down and then becomes
//! the agent's own bootstrap (measured with buildkite-agent 3.136). A job cannot then read the agent's memory
//! or end it.

use std::{fmt, path::Path, str::FromStr};

/// A name that a Unix user can have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserName(String);

/// A text that is no user's name, or nobody's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadUser {
    /// It would not be safe in a script.
    #[error("`{0}` is no user name: a-z, 0-9, `_` and `-`, at most 32, beginning with a letter or `_`")]
    Name(String),
    /// Nobody is called that.
    #[error("the machine has no user `{0}`; the image must bring it")]
    Unknown(String),
    /// It is root.
    #[error("`{0}` is root: name another user, or leave the attribute away")]
    Root(String),
}

impl FromStr for UserName {
    type Err = BadUser;

    fn from_str(text: &str) -> Result<Self, BadUser> {
        let good = text.len() <= 32
            && text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
            && text
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-');
        if good {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadUser::Name(text.to_owned()))
        }
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A user of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Name.
    pub name: UserName,
    /// Number.
    pub uid: u32,
    /// Number of the main group.
    pub gid: u32,
    /// Home directory.
    pub home: String,
}

impl User {
    /// Looks a user up in the text of `/etc/passwd`.
    ///
    /// # Errors
    /// [`BadUser`] if there is no such user, or it is root.
    pub fn find(name: &UserName, passwd: &str) -> Result<Self, BadUser> {
        let user = passwd
            .lines()
            .find_map(|line| Self::from_line(name, line))
            .ok_or_else(|| BadUser::Unknown(name.0.clone()))?;
        if user.uid == 0 {
            Err(BadUser::Root(name.0.clone()))
        } else {
            Ok(user)
        }
    }

    fn from_line(name: &UserName, line: &str) -> Option<Self> {
        let mut fields = line.split(':');
        (fields.next()? == name.0).then_some(())?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        let home = fields.nth(1)?.to_owned();
        Some(Self {
            name: name.clone(),
            uid,
            gid,
            home,
        })
    }

    /// The script that the agent runs as root in place of its bootstrap.
    ///
    /// `exec` keeps the process, so that the agent's signals reach the job as ever. The groups are the
    /// user's own, so that membership in `docker` counts. The two files are the only ones of the agent that
    /// the job reads.
    pub fn bootstrap_script(&self, agent: &Path, sockets: &Path) -> String {
        let (uid, gid) = (self.uid, self.gid);
        let home = quoted(&self.home);
        let name = &self.name;
        let sockets = quoted(&sockets.display().to_string());
        let agent = quoted(&agent.display().to_string());
        format!(
            "#!/bin/sh\n\
             chown {uid}:{gid} \"$BUILDKITE_ENV_FILE\" \"$BUILDKITE_ENV_JSON_FILE\" 2>/dev/null\n\
             exec setpriv --reuid {uid} --regid {gid} --init-groups \\\n  \
             env HOME={home} USER={name} LOGNAME={name} BUILDKITE_SOCKETS_PATH={sockets} \\\n  \
             {agent} bootstrap\n"
        )
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\n\
                          toor:x:0:0::/root:/bin/sh\n\
                          broken:x:no\n\
                          ci:x:1001:1002:CI's own,,,:/home/ci's:/bin/bash\n";

    fn find(name: &str) -> Result<User, BadUser> {
        User::find(&name.parse()?, PASSWD)
    }

    #[test]
    fn a_user_is_found_and_root_is_refused() {
        let ci = find("ci").unwrap();
        assert_eq!((ci.uid, ci.gid, &*ci.home), (1001, 1002, "/home/ci's"));
        assert_eq!(find("toor"), Err(BadUser::Root("toor".to_owned())));
        assert_eq!(find("nobody"), Err(BadUser::Unknown("nobody".to_owned())));
        assert_eq!(find("broken"), Err(BadUser::Unknown("broken".to_owned())));
        for bad in ["", "a b", "$(id)", "9a", "Ci", &"a".repeat(33)] {
            assert_eq!(find(bad), Err(BadUser::Name(bad.to_owned())));
        }
    }

    #[test]
    fn the_script_steps_down_and_becomes_the_bootstrap() {
        let script = find("ci")
            .unwrap()
            .bootstrap_script(Path::new("/usr/bin/buildkite-agent"), Path::new("/run/sockets"));
        insta::assert_snapshot!(script);
    }
}
