//! From argv to one verb with its options.
//!
//! Owns the order of a command line: global options, the verb, its options. Two parsers run,
//! one for the global options and one for the verb that was named, because building all
//! twenty would cost more than a whole `rt state`.
//!
//! Runs in: parent, before anything else.

use std::ffi::{OsStr, OsString};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Args, Command, FromArgMatches};

use super::{Call, Entry, Global, VERBS, spelling, version};
use crate::error::{Error, Kind, Result};
use crate::log;

/// What the command line asks for.
pub enum Parsed {
    /// A text for standard output: help, or the version.
    Text(String),
    /// A text for standard output, and then this error.
    TextThen(String, Error),
    Call(Box<Call>),
}

/// Understands `arguments`, whose first is the name of the program. As soon as the global
/// options are known the log is set up, so that whatever goes wrong after that is in it.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Parsed> {
    let mut arguments: Vec<OsString> = arguments.into_iter().collect();
    if arguments.is_empty() {
        arguments.push("rt".into());
    }
    refuse_a_handler(&arguments[0])?;
    arguments[0] = "rt".into();

    let command = global_command();
    let words = arguments.split_off(1);
    arguments.extend(spelling::unify(&command, words));
    let mut matches = match command.try_get_matches_from(arguments.iter()) {
        Ok(matches) => matches,
        Err(e) if e.kind() == ErrorKind::DisplayHelp => {
            return Ok(Parsed::Text(help_of_everything()));
        }
        Err(e) => return Err(usage_error(&e)),
    };
    if matches.get_flag("version") {
        return Ok(Parsed::Text(version::text()));
    }
    let global = Global::from_arg_matches_mut(&mut matches).map_err(|e| usage_error(&e))?;
    global.configure_log()?;
    let Some((name, rest)) = matches.subcommand() else {
        return Err(Error::new(Kind::Usage, help_of_everything()));
    };
    let rest: Vec<OsString> = rest
        .get_many::<OsString>("")
        .map(|values| values.cloned().collect())
        .unwrap_or_default();
    match VERBS.iter().find(|verb| verb.name == name) {
        Some(entry) => parse_verb(entry, rest, global),
        None => parse_everything(&arguments),
    }
}

fn parse_verb(entry: &'static Entry, rest: Vec<OsString>, global: Global) -> Result<Parsed> {
    let command = verb_command(entry);
    let rest = spelling::unify(&command, rest);
    let arguments = std::iter::once(OsString::from(entry.name)).chain(rest);
    match command.try_get_matches_from(arguments) {
        Ok(matches) => {
            log::debug(|| format!("{} (rt {})", entry.name, version::NUMBER));
            Ok(Parsed::Call(Box::new(Call {
                entry,
                matches,
                global,
            })))
        }
        Err(e) if e.kind() == ErrorKind::DisplayHelp => {
            let text = e.render().to_string();
            Ok(match (entry.works)() {
                Ok(()) => Parsed::Text(text),
                Err(why) => Parsed::TextThen(text, why),
            })
        }
        Err(e) => Err(usage_error(&e)),
    }
}

/// crun, called by such a name, runs the container in a virtual machine or a WebAssembly
/// engine. To run it as an ordinary one would be worse than not to run it.
fn refuse_a_handler(program: &OsStr) -> Result<()> {
    let name = program.to_string_lossy();
    let name = name.rsplit('/').next().unwrap_or_default();
    if name == "krun" || name.starts_with("crun-") {
        return Err(Error::unsupported(format!(
            "{name}: rt has no handlers, it runs containers only"
        )));
    }
    Ok(())
}

fn with_help(command: Command) -> Command {
    // crun's parser knows -? and --usage too.
    let help = Arg::new("help")
        .short('h')
        .short_alias('?')
        .long("help")
        .alias("usage")
        .action(ArgAction::Help)
        .help("Print help");
    command
        .disable_help_flag(true)
        .disable_version_flag(true)
        .disable_help_subcommand(true)
        .args_override_self(true)
        .arg(help)
}

fn with_global_options() -> Command {
    let version = Arg::new("version")
        .short('v')
        .short_alias('V')
        .long("version")
        .action(ArgAction::SetTrue)
        .help("Print the version");
    with_help(Global::augment_args(Command::new("rt")).arg(version))
}

/// Knows the global options, and takes the first word behind them as the verb.
fn global_command() -> Command {
    with_global_options()
        .allow_external_subcommands(true)
        .override_usage("rt [OPTIONS] <COMMAND>")
}

fn verb_command(entry: &Entry) -> Command {
    let command = (entry.options)(Command::new(entry.name));
    let command = with_help(command)
        .bin_name(format!("rt {}", entry.name))
        .about(entry.about);
    match entry.usage {
        Some(usage) => command.override_usage(format!("rt {} {usage}", entry.name)),
        None => command,
    }
}

pub(super) fn everything() -> Command {
    with_global_options()
        .about("A low-level container runtime: reads an OCI bundle and makes the container")
        .after_help("`rt COMMAND --help` tells more of a command. Options above stand before it.")
        .subcommand_required(true)
        .disable_help_subcommand(false)
        .subcommands(VERBS.iter().map(verb_command))
}

fn help_of_everything() -> String {
    everything().render_help().to_string()
}

/// For what is rare: `rt help VERB`, and a verb that is none, to which clap proposes another.
fn parse_everything(arguments: &[OsString]) -> Result<Parsed> {
    match everything().try_get_matches_from(arguments) {
        Ok(_) => Err(Error::new(Kind::Usage, help_of_everything())),
        Err(e) if e.kind() == ErrorKind::DisplayHelp => Ok(Parsed::Text(e.render().to_string())),
        Err(e) => Err(usage_error(&e)),
    }
}

/// Keeps clap's words, which name the option and show the usage, with one exception: podman
/// looks for "requires an argument" to learn whether an option exists.
pub fn usage_error(error: &clap::Error) -> Error {
    let missing_value = matches!(
        (error.kind(), error.get(ContextKind::InvalidValue)),
        (ErrorKind::InvalidValue, Some(ContextValue::String(value))) if value.is_empty()
    );
    let mut text = error.render().to_string();
    if missing_value && let Some(ContextValue::String(option)) = error.get(ContextKind::InvalidArg)
    {
        let rest = text.split_once("\n\n").map_or("", |(_, rest)| rest);
        text = format!("error: option '{option}' requires an argument\n\n{rest}");
    }
    Error::new(Kind::Usage, text)
}
