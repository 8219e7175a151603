//! Runs units with bubblewrap, for machines without Docker.
