package service_test

import (
	"errors"
	"fmt"

	"github.com/imagebatch/imagebatch/shared/service"
)

type exampleConfig struct {
	Concurrency int            `env:"CONCURRENCY" envDefault:"4"`
	Password    service.Secret `env:"PASSWORD"` // or PASSWORD_FILE, the path of a file that contains it
}

func (c *exampleConfig) check() error {
	if c.Concurrency < 1 {
		return errors.New("CONCURRENCY: want at least 1")
	}
	return nil
}

// Load reads the environment and reports every mistake. Secrets are never printed.
func Example() {
	c, err := service.Load([]string{"PASSWORD=hunter2"}, (*exampleConfig).check)
	fmt.Println(c.Concurrency, c.Password, err)

	_, err = service.Load([]string{"CONCURRENCY=0"}, (*exampleConfig).check)
	fmt.Println(err)
	// Output:
	// 4 xxxxx <nil>
	// configuration:
	// CONCURRENCY: want at least 1
}
