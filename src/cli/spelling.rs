//! The ways to write an option that runc's parser allows, put into the one form that ours knows.
//!
//! Owns what Go's flag package and urfave/cli make of a command line: `-detach` is `--detach`,
//! a switch may say `=true` or `=false`, and an option of a verb that is given nothing
//! (`--cwd ""`, by the empty variable of a script) counts as one that is not there.
//!
//! Runs in: parent, before anything else.

use std::ffi::OsString;

use clap::{Arg, ArgAction, Command};

/// Rewrites `words`, which stand behind the name of `command`. What is not known stays as it
/// is, and so does all that belongs to another command or to a payload.
pub fn unify(command: &Command, words: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let is_global = command.is_allow_external_subcommands_set();
    let ends_at_first = is_global || command.get_positionals().any(Arg::is_trailing_var_arg_set);
    let mut words = words.into_iter();
    let mut unified = Vec::new();
    while let Some(word) = words.next() {
        let text = word.to_str().unwrap_or_default();
        if text == "--" || (ends_at_first && !text.starts_with('-')) {
            unified.push(word);
            break;
        }
        let Some((option, name, told)) = option(command, text) else {
            unified.push(word);
            continue;
        };
        if !option.get_action().takes_values() {
            match told.map(truth) {
                None | Some(Some(true)) => unified.push(name.into()),
                Some(Some(false)) => {}
                Some(None) => unified.push(word),
            }
            continue;
        }
        match told.map(OsString::from).or_else(|| words.next()) {
            // An empty --root is a mistake, which must not come to mean the usual one.
            Some(value) if value.is_empty() && !is_global && is_single(option) => {}
            Some(value) => {
                let mut word = OsString::from(name + "=");
                word.push(value);
                unified.push(word);
            }
            None => unified.push(name.into()),
        }
    }
    unified.extend(words);
    unified
}

/// The option that `text` gives, its name with as many dashes as the parser wants, and what
/// stands behind a `=`.
fn option<'a>(command: &'a Command, text: &'a str) -> Option<(&'a Arg, String, Option<&'a str>)> {
    let (name, told) = match text.split_once('=') {
        Some((name, told)) => (name, Some(told)),
        None => (text, None),
    };
    let dashed = name.strip_prefix('-')?;
    let bare = dashed.strip_prefix('-').unwrap_or(dashed);
    let mut options = command.get_arguments().filter(|arg| !arg.is_positional());
    if bare.len() == 1 {
        let letter = bare.chars().next();
        let is_meant = |arg: &&Arg| arg.get_short() == letter;
        return options
            .find(is_meant)
            .map(|option| (option, format!("-{bare}"), told));
    }
    let is_meant = |arg: &&Arg| {
        let has_it = |aliases: Vec<&str>| aliases.contains(&bare);
        arg.get_long() == Some(bare) || arg.get_all_aliases().is_some_and(has_it)
    };
    options
        .find(is_meant)
        .map(|option| (option, format!("--{bare}"), told))
}

fn is_single(option: &Arg) -> bool {
    matches!(option.get_action(), ArgAction::Set)
}

/// Go's ParseBool.
fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use clap::Args;

    use super::super::VERBS;
    use super::super::global::Global;
    use super::*;

    fn unified(command: &Command, line: &str) -> String {
        let words = line.split(' ').map(|word| word.replace('~', ""));
        let words = unify(command, words.map(OsString::from));
        words.join(" ".as_ref()).to_string_lossy().into_owned()
    }

    fn verb(name: &str) -> Command {
        let entry = VERBS.iter().find(|verb| verb.name == name).unwrap();
        (entry.options)(Command::new(entry.name))
    }

    #[test]
    fn every_option_may_have_one_dash_and_every_switch_a_truth() {
        for entry in &VERBS {
            let command = verb(entry.name);
            for option in command.get_arguments().filter(|arg| !arg.is_positional()) {
                let name = option.get_long().unwrap();
                if option.get_action().takes_values() {
                    let expected = format!("--{name}=X ID");
                    for line in ["-N X ID", "-N=X ID", "--N X ID", "--N=X ID"] {
                        assert_eq!(unified(&command, &line.replace('N', name)), expected);
                    }
                } else {
                    let expected = format!("--{name} ID");
                    for line in ["-N ID", "-N=true ID", "--N ID", "--N=1 ID"] {
                        assert_eq!(unified(&command, &line.replace('N', name)), expected);
                    }
                    assert_eq!(unified(&command, &format!("--{name}=false ID")), "ID");
                    let nonsense = format!("--{name}=maybe ID");
                    assert_eq!(unified(&command, &nonsense), nonsense);
                }
            }
        }
    }

    // ~ stands for an empty word.
    #[test]
    fn what_is_given_nothing_is_not_there() {
        let exec = verb("exec");
        assert_eq!(unified(&exec, "--cwd ~ -u= -p ~ ID sh"), "ID sh");
        assert_eq!(unified(&exec, "--env ~ ID sh"), "--env= ID sh");
        assert_eq!(unified(&exec, "ID sh --cwd ~"), "ID sh --cwd ");
        let restore = verb("restore");
        let asked = "--lsm-mount-context";
        assert_eq!(unified(&restore, asked), asked, "podman's question");
        let global = Global::augment_args(Command::new("rt")).allow_external_subcommands(true);
        assert_eq!(unified(&global, "--root= list"), "--root= list");
    }

    #[test]
    fn what_belongs_to_others_stays() {
        let global = Global::augment_args(Command::new("rt")).allow_external_subcommands(true);
        assert_eq!(
            unified(&global, "-debug=true -root R list -quiet"),
            "--debug --root=R list -quiet"
        );
        for (name, line) in [
            ("exec", "-t -detach=true ID ls -all --force=true"),
            ("exec", "-- ID -detach"),
            ("ps", "ID -o pid -format"),
            ("create", "--nosuch=true -nosuch -b=B ID"),
            ("list", "-qf=json"),
        ] {
            let kept = line.replace("-detach=true", "--detach");
            assert_eq!(unified(&verb(name), line), kept);
        }
    }
}
