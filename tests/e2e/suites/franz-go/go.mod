// Pins franz-go, whose tests come with its module. Nothing is built of this.
module lantern.invalid/suite

go 1.26.0

require github.com/twmb/franz-go v1.22.2
