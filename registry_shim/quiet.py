class Quiet:
    def decided(self, d):
        None

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
