"""What can be set."""
class MiningSupervisionConfig: pass
