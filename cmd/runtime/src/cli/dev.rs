//! `runtime dev`. Values stay text here: they are checked in `settings`, together with environment and file, so that all
//! faults are reported at once.

use std::path::PathBuf;

use clap::Args;

/// Every setting by its name in the configuration file; the flag is the same with `-` for `_`.
pub(crate) const OPTIONS: [&str; 10] = [
    "data_dir",
    "listen",
    "executor",
    "docker_host",
    "images",
    "reconcile_interval",
    "log_format",
    "log_level",
    "on_stop",
    "min_free_bytes",
];

#[derive(Debug, Default, Args)]
#[command(after_help = concat!(
    "Flags go over the environment, which goes over the file.\n\n",
    "Examples:\n  runtime dev\n  runtime dev --data-dir /srv/bots --executor docker --listen 127.0.0.1:6000\n",
    "  runtime dev --config dev.yaml --print-config\n\n",
    "Ctrl-C or SIGTERM ends the service and leaves bots running (see --on-stop); the next start finds them again. ",
    "A second signal ends it at once.\n\n",
    "Exit codes: 0 ok, 1 failed, 2 wrong usage or configuration, 4 another instance or port taken, 130 second signal"
))]
pub(crate) struct DevArgs {
    /// Directory for everything that is kept [env: THE0_DATA_DIR] [default: ~/.local/share/the0]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<String>,
    /// Address of the API [env: THE0_LISTEN] [default: 127.0.0.1:50051]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<String>,
    /// What runs the bots: auto, docker or sandbox [env: THE0_EXECUTOR] [default: auto]
    #[arg(long, value_name = "NAME")]
    pub(crate) executor: Option<String>,
    /// Docker's address: unix:///path or tcp://host:port [env: THE0_DOCKER_HOST, DOCKER_HOST]
    #[arg(long, value_name = "URL")]
    pub(crate) docker_host: Option<String>,
    /// Image for a runtime, as python3.11=my/image:tag; may be repeated [env: THE0_IMAGES, comma-separated]
    #[arg(long = "image", value_name = "RUNTIME=IMAGE")]
    pub(crate) images: Vec<String>,
    /// Looks at everything this often, as 30s, even if nothing changed; or off [env: THE0_RECONCILE_INTERVAL] [default: off]
    #[arg(long, value_name = "TIME")]
    pub(crate) reconcile_interval: Option<String>,
    /// text or json [env: THE0_LOG_FORMAT] [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) log_format: Option<String>,
    /// error, warn, info, debug, trace, or a filter such as info,the0_core=debug [env: THE0_LOG_LEVEL] [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub(crate) log_level: Option<String>,
    /// What happens to running bots when the service ends: keep or stop [env: THE0_ON_STOP] [default: keep]
    #[arg(long, value_name = "WHAT")]
    pub(crate) on_stop: Option<String>,
    /// Free space the data directory must have to start, as 64Mi [env: THE0_MIN_FREE_BYTES] [default: 64Mi]
    #[arg(long, value_name = "SIZE")]
    pub(crate) min_free_bytes: Option<String>,
    /// YAML file with the same settings, `_` for `-` in their names [env: THE0_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Prints the resulting configuration, secrets masked, and ends
    #[arg(long)]
    pub(crate) print_config: bool,
    /// With --print-config: as JSON
    #[arg(long, requires = "print_config")]
    pub(crate) json: bool,
}
