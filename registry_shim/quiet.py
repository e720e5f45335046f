class Quiet:
    def decided(self, d):
        print(d.outcome, d.reason, d.image, file=__import__("sys").stderr)

    def traffic(self, t):
        pass

    def collections(self, s):
        self.s = s

    def ready(self, *, is_ready, why):
        pass

    def flush(self):
        pass

    def application(self):
        raise NotImplementedError
